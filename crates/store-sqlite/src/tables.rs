//! One prepared statement each to find, insert and update a row of each kind.

use crate::fault::Fault;
use diesel::prelude::*;
use tithe_engine::books::rows::{
    Accounts, AuthNonces, Bootstraps, Counters, Credits, Holds, IdempotencyKeys, Identities, InstallOrigins,
    Installs, Invoices, Jobs, KeptRequests, LicenceRevocations, Obligations, Payouts, Reservations,
    SessionKeys, SessionRequests, Sessions,
};
use tithe_store_sql::Stored;
use tithe_store_sql::schema::{
    accounts, auth_challenges, bootstrap_jobs, credits, free_tier_pool, free_tier_reservations, holds,
    idempotency_keys, install_credits, install_origins, invoices, jobs, kept_requests, nostr_identities,
    obligations, payouts, revoked_licences, session_keys, session_requests, sessions,
};

/// A table whose rows batches find, insert and update by primary key.
pub(crate) trait Table: Stored {
    fn find(connection: &mut SqliteConnection, key: &Self::Key) -> QueryResult<Option<Self::Record>>;
    fn insert(connection: &mut SqliteConnection, record: &Self::Record) -> QueryResult<usize>;
    fn update(
        connection: &mut SqliteConnection,
        key: &Self::Key,
        record: &Self::Record,
    ) -> QueryResult<usize>;
}

/// The row of this key, if it exists.
pub(crate) fn find<K: Table>(
    connection: &mut SqliteConnection,
    key: &K::Key,
) -> Result<Option<K::Row>, Fault> {
    Ok(K::find(connection, key)?.map(K::row).transpose()?)
}

/// Inserts a row, which must not exist.
pub(crate) fn insert<K: Table>(connection: &mut SqliteConnection, row: &K::Row) -> Result<(), Fault> {
    K::insert(connection, &K::record(row)?)?;
    Ok(())
}

/// Updates a row, which must exist.
pub(crate) fn update<K: Table>(connection: &mut SqliteConnection, row: &K::Row) -> Result<(), Fault> {
    match K::update(connection, &K::key(row), &K::record(row)?)? {
        1 => Ok(()),
        _ => Err(Fault::Database(diesel::result::Error::NotFound)),
    }
}

macro_rules! tables {
    ($($kind:ident in $table:ident, by [$($column:ident),+];)*) => {$(
        impl Table for $kind {
            fn find(connection: &mut SqliteConnection, key: &Self::Key) -> QueryResult<Option<Self::Record>> {
                let [$($column),+] = Self::key_columns(key);
                let found = $table::table.find(($($column),+));
                found.select(Self::Record::as_select()).first(connection).optional()
            }

            fn insert(connection: &mut SqliteConnection, record: &Self::Record) -> QueryResult<usize> {
                diesel::insert_into($table::table).values(record).execute(connection)
            }

            fn update(
                connection: &mut SqliteConnection,
                key: &Self::Key,
                record: &Self::Record,
            ) -> QueryResult<usize> {
                let [$($column),+] = Self::key_columns(key);
                diesel::update($table::table.find(($($column),+))).set(record).execute(connection)
            }
        }
    )*};
}

tables! {
    Identities in nostr_identities, by [pubkey];
    Jobs in jobs, by [id];
    Sessions in sessions, by [id];
    Bootstraps in bootstrap_jobs, by [id];
    Obligations in obligations, by [account];
    Payouts in payouts, by [payment_hash];
    KeptRequests in kept_requests, by [session_id];
    SessionKeys in session_keys, by [session_id, key_id];
    SessionRequests in session_requests, by [id];
    Invoices in invoices, by [payment_hash];
    IdempotencyKeys in idempotency_keys, by [scope, key];
    AuthNonces in auth_challenges, by [id];
    Accounts in accounts, by [id];
    Counters in free_tier_pool, by [id];
    Holds in holds, by [id];
    Reservations in free_tier_reservations, by [id];
    InstallOrigins in install_origins, by [name];
    Installs in install_credits, by [install_id];
    Credits in credits, by [id];
    LicenceRevocations in revoked_licences, by [licence_id];
}
