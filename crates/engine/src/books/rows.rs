//! Which rows commands read and write. Each kind is declared here, once; keys, loaded rows, changes and the stores'
//! plumbing derive from [`for_each_row_kind`](crate::for_each_row_kind).

pub use super::kind::{RowKind, Written};
use super::refusal::{Refusal, UndeclaredRow};
use super::table::{Log, Table};
use crate::records::{AuthNonce, AuthNonceId, IdempotencyId, IdempotencyRecord};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use tithe_bootstrap::{Bootstrap, BootstrapId};
use tithe_free_tier::{Grant, Identity, PoolCounters, Reservation, ReservationId};
use tithe_jobs::{Job, JobChange, JobId};
use tithe_ledger::credits::{Credit, CreditId, Install, InstallId, InstallOrigin};
use tithe_ledger::{Account, AccountId, Hold, HoldId, Transfer, TransferKey};
use tithe_licences::{LicenceId, Revocation};
use tithe_lightning::{Invoice, PaymentHash};
use tithe_payouts::{Obligation, Payout};
use tithe_sessions::{KeptRequest, RequestId, Session, SessionId, SessionKey, SessionKeyId, SessionRequest};
use tithe_trust::NostrPubkey;

/// Calls a macro with every kind of row, as `field: Kind` pairs, in the order in which stores lock them.
///
/// What guards comes before what it guards: whether a hold, a reservation, a credit or a transfer exists is known only once its
/// account, its identity or its install is locked. Among the accounts, the pool is locked last, because every server needs it.
#[macro_export]
macro_rules! for_each_row_kind {
    ($callback:ident) => {
        $callback! {
            identities: $crate::books::rows::Identities,
            jobs: $crate::books::rows::Jobs,
            sessions: $crate::books::rows::Sessions,
            bootstraps: $crate::books::rows::Bootstraps,
            install_origins: $crate::books::rows::InstallOrigins,
            installs: $crate::books::rows::Installs,
            invoices: $crate::books::rows::Invoices,
            idempotency_keys: $crate::books::rows::IdempotencyKeys,
            auth_nonces: $crate::books::rows::AuthNonces,
            licence_revocations: $crate::books::rows::LicenceRevocations,
            accounts: $crate::books::rows::Accounts,
            pool_counters: $crate::books::rows::Counters,
            holds: $crate::books::rows::Holds,
            reservations: $crate::books::rows::Reservations,
            credits: $crate::books::rows::Credits,
            kept_requests: $crate::books::rows::KeptRequests,
            session_keys: $crate::books::rows::SessionKeys,
            session_requests: $crate::books::rows::SessionRequests,
            obligations: $crate::books::rows::Obligations,
            payouts: $crate::books::rows::Payouts,
        }
    };
}

macro_rules! row_kinds {
    ($($(#[$doc:meta])* $kind:ident: $key:ty => $row:ty, named $name:literal, by $of:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $kind;

        impl RowKind for $kind {
            type Key = $key;
            type Row = $row;
            const NAME: &'static str = $name;

            fn key(row: &$row) -> $key {
                let of: fn(&$row) -> $key = $of;
                of(row)
            }
        }
    )*};
}

row_kinds! {
    /// Identities, with their trust and their budget window.
    Identities: NostrPubkey => Identity, named "identity", by Identity::pubkey;
    /// Jobs.
    Jobs: JobId => Job, named "job", by |job| job.id;
    /// Sessions.
    Sessions: SessionId => Session, named "session", by |session| session.id;
    /// Nodes that are bought.
    Bootstraps: BootstrapId => Bootstrap, named "bootstrap", by |bootstrap| bootstrap.id;
    /// Addresses that new installs came from.
    InstallOrigins: String => InstallOrigin, named "install origin", by |origin| origin.name.clone();
    /// Installs, with what they have used of their plans.
    Installs: InstallId => Install, named "install", by |install| install.id;
    /// Invoices that were issued to customers.
    Invoices: PaymentHash => Invoice, named "invoice", by |invoice| invoice.payment_hash;
    /// Idempotency keys, with what is known of their requests.
    IdempotencyKeys: IdempotencyId => IdempotencyRecord, named "idempotency key", by |record| record.id.clone();
    /// Consumed authentication nonces.
    AuthNonces: AuthNonceId => AuthNonce, named "auth nonce", by |nonce| nonce.id;
    /// Licences that were revoked.
    LicenceRevocations: LicenceId => Revocation, named "licence revocation", by |revocation| revocation.licence;
    /// Guarded accounts.
    Accounts: AccountId => Account, named "account", by Account::id;
    /// The pool's counters: one row.
    Counters: () => PoolCounters, named "pool counters", by |_| ();
    /// Holds.
    Holds: HoldId => Hold, named "hold", by |hold| hold.id;
    /// Reservations of the pool.
    Reservations: ReservationId => Reservation, named "reservation", by |reservation| reservation.id;
    /// Reservations of installs' requests.
    Credits: CreditId => Credit, named "credit", by |credit| credit.id;
    /// Requests that are done before their payment is taken.
    KeptRequests: SessionId => KeptRequest, named "kept request", by |kept| kept.session;
    /// Keys of sessions.
    SessionKeys: SessionKeyId => SessionKey, named "session key", by |key| (key.session, key.id);
    /// Requests of sessions.
    SessionRequests: RequestId => SessionRequest, named "session request", by |request| request.id;
    /// What is owed to customers.
    Obligations: AccountId => Obligation, named "obligation", by |obligation| obligation.account;
    /// Payments to customers.
    Payouts: PaymentHash => Payout, named "payout", by |payout| payout.payment_hash;
}

macro_rules! row_structs {
    ($($field:ident: $kind:path,)*) => {
        /// The rows that a command or a batch reads and changes, by kind and key. A store locks them kind by kind in the
        /// order of these fields, and within a kind in the order of the keys.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct RowKeys {
            $(
                #[doc = concat!("Keys of `", stringify!($field), "`.")]
                pub $field: BTreeSet<<$kind as RowKind>::Key>,
            )*
            /// Transfers that may have been made before; only their existence is loaded, after everything else.
            pub transfers: BTreeSet<TransferKey>,
        }

        impl RowKeys {
            /// Adds the keys of `other`.
            pub fn extend(&mut self, other: &Self) {
                $(self.$field.extend(other.$field.iter().cloned());)*
                self.transfers.extend(other.transfers.iter().cloned());
            }
        }

        /// The rows of a batch as a store has loaded them. Rows that do not exist are absent.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct LoadedRows {
            $(
                #[doc = concat!("The loaded `", stringify!($field), "`.")]
                pub $field: Vec<<$kind as RowKind>::Row>,
            )*
            /// The declared transfers that exist.
            pub transfers: HashSet<TransferKey>,
        }

        /// Everything that a batch writes.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Changes {
            $(
                #[doc = concat!("The written `", stringify!($field), "`.")]
                pub $field: Written<<$kind as RowKind>::Row>,
            )*
            /// New transfers.
            pub transfers: Vec<Transfer>,
            /// New grants.
            pub grants: Vec<Grant>,
            /// New steps of jobs.
            pub job_changes: Vec<JobChange>,
        }

        impl Changes {
            /// Whether there is nothing to write.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                $(self.$field.is_empty() &&)*
                self.transfers.is_empty() && self.grants.is_empty() && self.job_changes.is_empty()
            }
        }

        /// The rows of a batch while its commands are decided.
        pub struct Rows<'b> {
            $(
                #[doc = concat!("The `", stringify!($field), "`.")]
                pub $field: Table<'b, $kind>,
            )*
            /// Transfers.
            pub transfers: Transfers<'b>,
            /// New grants.
            pub grants: Log<Grant>,
            /// New steps of jobs.
            pub job_changes: Log<JobChange>,
        }

        impl<'b> Rows<'b> {
            pub(super) fn new(loaded: LoadedRows) -> Self {
                Self {
                    $($field: Table::new(loaded.$field),)*
                    transfers: Transfers::new(loaded.transfers),
                    grants: Log::default(),
                    job_changes: Log::default(),
                }
            }

            /// Begins a command that has declared these keys.
            pub(super) fn begin(&mut self, declared: &'b RowKeys) {
                $(self.$field.begin(&declared.$field);)*
                self.transfers.declared = Some(&declared.transfers);
            }

            /// The undeclared row that the command has touched, if it has.
            pub(super) fn take_undeclared(&self) -> Option<UndeclaredRow> {
                let mut found = self.transfers.undeclared.take();
                $(found = self.$field.take_undeclared().or(found);)*
                found
            }

            pub(super) fn accept(&mut self) {
                $(self.$field.accept();)*
                self.transfers.accept();
                self.grants.accept();
                self.job_changes.accept();
            }

            pub(super) fn discard(&mut self) {
                $(self.$field.discard();)*
                self.transfers.log.discard();
                self.grants.discard();
                self.job_changes.discard();
            }

            pub(super) fn into_changes(self) -> Changes {
                Changes {
                    $($field: self.$field.into_written(),)*
                    transfers: self.transfers.log.into_accepted(),
                    grants: self.grants.into_accepted(),
                    job_changes: self.job_changes.into_accepted(),
                }
            }
        }
    };
}

for_each_row_kind!(row_structs);

impl LoadedRows {
    /// Whether a reservation, a hold or a credit was loaded without its identity, its account or its install, although `keys`
    /// declare both.
    ///
    /// A row that does not exist cannot be locked. Where each kind is read as of its own moment, another server may
    /// make both rows in between, and a decision would then take the identity, the account or the install for new. Such a
    /// store must load again.
    #[must_use]
    pub fn is_torn(&self, keys: &RowKeys) -> bool {
        let misses_identity = |reservation: &Reservation| {
            let pubkey = reservation.pubkey;
            keys.identities.contains(&pubkey) && !self.identities.iter().any(|row| row.pubkey() == pubkey)
        };
        let misses_account = |hold: &Hold| {
            keys.accounts.contains(&hold.account) && !self.accounts.iter().any(|row| row.id() == hold.account)
        };
        let misses_install = |credit: &Credit| {
            keys.installs.contains(&credit.install)
                && !self.installs.iter().any(|row| row.id == credit.install)
        };
        self.reservations.iter().any(misses_identity)
            || self.holds.iter().any(misses_account)
            || self.credits.iter().any(misses_install)
    }
}

/// Transfers: which of the declared ones exist, and the new ones.
pub struct Transfers<'b> {
    declared: Option<&'b BTreeSet<TransferKey>>,
    existing: HashSet<TransferKey>,
    log: Log<Transfer>,
    undeclared: RefCell<Option<UndeclaredRow>>,
}

impl Transfers<'_> {
    fn new(existing: HashSet<TransferKey>) -> Self {
        Self { declared: None, existing, log: Log::default(), undeclared: RefCell::default() }
    }

    /// Whether the transfer of this key was made before.
    ///
    /// # Errors
    /// [`Refusal::Undeclared`] when the command did not declare the key.
    pub fn exists(&self, key: &TransferKey) -> Result<bool, Refusal> {
        if !self.declared.is_some_and(|declared| declared.contains(key)) {
            let undeclared = UndeclaredRow { kind: "transfer", key: key.to_string() };
            self.undeclared.replace(Some(undeclared.clone()));
            return Err(Refusal::Undeclared(undeclared));
        }
        Ok(self.existing.contains(key) || self.log.draft().iter().any(|transfer| transfer.key == *key))
    }

    /// Adds a transfer. Its key needs no declaration: a second transfer with the same key fails the batch.
    pub fn push(&mut self, transfer: Transfer) {
        self.log.push(transfer);
    }

    fn accept(&mut self) {
        self.existing.extend(self.log.draft().iter().map(|transfer| transfer.key.clone()));
        self.log.accept();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tithe_clock::Timestamp;
    use tithe_free_tier::{NewReservation, PoolState, Reserved};
    use tithe_ledger::credits::{NewCredit, Plan, Plans};
    use tithe_money::Msats;
    use uuid::Uuid;

    #[test]
    fn a_loaded_row_without_its_declared_guard_is_torn() {
        let (now, amount) = (Timestamp::UNIX_EPOCH, Msats::new(5).unwrap());
        let pubkey = NostrPubkey::restore(&"a".repeat(64)).unwrap();
        let stranger = Identity::new(pubkey, now);
        let id = ReservationId(Uuid::from_u128(1));
        let account = Account::restore(AccountId::Pool, amount, Msats::ZERO).unwrap();
        let pool = PoolState::new(account.clone(), PoolCounters::default()).unwrap();
        let new = NewReservation { id, amount, budget: amount };
        let Reserved { reservation, identity, .. } = new.hold(&stranger, &pool, None, now).unwrap();
        let id = HoldId(Uuid::from_u128(2));
        let (hold, account) = Hold::place(&account, id, amount, now, Duration::from_secs(1)).unwrap();

        let new = NewCredit {
            id: CreditId(Uuid::from_u128(3)),
            plan: Plan::Core,
            quota: Plans::default().core,
            has_hardware: false,
            lease: Duration::from_secs(1),
        };
        let reserved = new.reserve(&Install::new(InstallId::new(Uuid::from_u128(4)), now), now).unwrap();
        let (credit, install) = (reserved.credit, reserved.install);

        let keys = RowKeys {
            identities: [pubkey].into(),
            accounts: [AccountId::Pool].into(),
            installs: [install.id].into(),
            ..RowKeys::default()
        };
        let torn = [
            LoadedRows { reservations: vec![reservation.clone()], ..LoadedRows::default() },
            LoadedRows { holds: vec![hold.clone()], ..LoadedRows::default() },
            LoadedRows { credits: vec![credit.clone()], ..LoadedRows::default() },
        ];
        for rows in torn {
            assert!(rows.is_torn(&keys), "{rows:?}");
            assert!(!rows.is_torn(&RowKeys::default()), "nobody wanted the guard of {rows:?}");
        }
        let whole = LoadedRows {
            identities: vec![identity],
            accounts: vec![account],
            installs: vec![install],
            credits: vec![credit],
            reservations: vec![reservation],
            holds: vec![hold],
            ..LoadedRows::default()
        };
        assert!(!whole.is_torn(&keys));
    }
}
