//! Which row of the database stores which kind of row of the engine.

use crate::rows::{
    AccountRow, AuthNonceRow, BootstrapRow, CreditRow, HoldRow, IdempotencyRow, IdentityRow,
    InstallOriginRow, InstallRow, InvoiceRow, JobRow, KeptRequestRow, ObligationRow, POOL_COUNTERS,
    PayoutRow, PoolCountersRow, ReservationRow, RevocationRow, SessionKeyRow, SessionRequestRow, SessionRow,
    auth_nonce_column,
};
use tithe_engine::books::RowKind;
use tithe_engine::books::rows::{
    Accounts, AuthNonces, Bootstraps, Counters, Credits, Holds, IdempotencyKeys, Identities, InstallOrigins,
    Installs, Invoices, Jobs, KeptRequests, LicenceRevocations, Obligations, Payouts, Reservations,
    SessionKeys, SessionRequests, Sessions,
};
use tithe_engine::store::StoreError;

/// A kind of row, as the SQL stores store it.
pub trait Stored: RowKind {
    /// The row of the database.
    type Record: Send + 'static;

    /// The columns of a primary key: an array of texts.
    type KeyColumns: IntoIterator<Item = String>;

    /// The values of the primary key's columns, in their order.
    fn key_columns(key: &Self::Key) -> Self::KeyColumns;

    /// The row of the database for a row of the engine.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the row cannot be expressed.
    fn record(row: &Self::Row) -> Result<Self::Record, StoreError>;

    /// The row of the engine for a row of the database.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a column holds something that the rules do not allow.
    fn row(record: Self::Record) -> Result<Self::Row, StoreError>;
}

macro_rules! stored {
    ($($kind:ident as $record:ident, key [$text:ty; $columns:literal] of $key:pat => $values:expr;)*) => {$(
        impl Stored for $kind {
            type Record = $record;
            type KeyColumns = [$text; $columns];

            fn key_columns($key: &Self::Key) -> Self::KeyColumns {
                $values
            }

            fn record(row: &Self::Row) -> Result<$record, StoreError> {
                row.try_into().map_err(StoreError::from)
            }

            fn row(record: $record) -> Result<Self::Row, StoreError> {
                record.try_into()
            }
        }
    )*};
}

stored! {
    Identities as IdentityRow, key [String; 1] of pubkey => [pubkey.to_string()];
    Jobs as JobRow, key [String; 1] of id => [id.to_string()];
    Sessions as SessionRow, key [String; 1] of id => [id.to_string()];
    Bootstraps as BootstrapRow, key [String; 1] of id => [id.to_string()];
    Obligations as ObligationRow, key [String; 1] of account => [account.to_string()];
    Payouts as PayoutRow, key [String; 1] of hash => [hash.to_string()];
    KeptRequests as KeptRequestRow, key [String; 1] of session => [session.to_string()];
    SessionKeys as SessionKeyRow, key [String; 2] of key => [key.0.to_string(), key.1.to_string()];
    SessionRequests as SessionRequestRow, key [String; 1] of id => [id.to_string()];
    Invoices as InvoiceRow, key [String; 1] of hash => [hash.to_string()];
    IdempotencyKeys as IdempotencyRow, key [String; 2] of id => [id.scope.clone(), id.key.clone()];
    AuthNonces as AuthNonceRow, key [String; 1] of id => [auth_nonce_column(id)];
    Accounts as AccountRow, key [String; 1] of id => [id.to_string()];
    Counters as PoolCountersRow, key [String; 1] of () => [POOL_COUNTERS.to_owned()];
    Holds as HoldRow, key [String; 1] of id => [id.to_string()];
    Reservations as ReservationRow, key [String; 1] of id => [id.to_string()];
    InstallOrigins as InstallOriginRow, key [String; 1] of name => [name.clone()];
    Installs as InstallRow, key [String; 1] of id => [id.to_string()];
    Credits as CreditRow, key [String; 1] of id => [id.to_string()];
    LicenceRevocations as RevocationRow, key [String; 1] of id => [id.to_string()];
}
