//! Plans follow the tables.

use crate::{client, commit, database, server};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::{Batch, Books, Command as EngineCommand, Refusal, RowKeys};
use tithe_engine::store::{BatchStore, ReconciliationStore, RetentionStore};
use tithe_ledger::credits::{
    CreditId, CreditRepository, Install, InstallId, InstallOrigin, NewCredit, Plan, Plans,
};
use tithe_ledger::{AccountId, HoldId};
use tithe_lightning::{PaymentHash, PaymentId, Preimage};
use tithe_money::{Msats, Sats};
use tithe_payouts::{Obligation, ObligationRepository, Payout, PayoutState};
use tithe_store_suite::command::Command;
use tithe_store_suite::scene::{fund, msats};
use uuid::Uuid;

const SESSION: AccountId = AccountId::Session(Uuid::from_u128(7));

/// How many batches are written, each with one hold.
const BATCHES: i64 = 1_500;

/// The plans of a server that starts on empty tables which were analysed, as after a restore, read a whole table for each row: cheap
/// then, and dearer with each row that comes.
#[tokio::test]
async fn a_table_that_was_empty_when_the_server_started_is_still_read_by_key() {
    let database = database().await;
    let watch = client(database.url()).await;
    watch.batch_execute("VACUUM ANALYZE").await.unwrap();
    let store = server(database.url()).await;
    commit(&store, fund(SESSION, msats(1_000_000))).await.unwrap().unwrap();
    for n in 0..u128::try_from(BATCHES).unwrap() {
        let hold = HoldId(Uuid::from_u128(n + 1));
        let place =
            Command::HoldPlace { hold, account: SESSION, amount: msats(1), lease: Duration::from_mins(1) };
        commit(&store, place).await.unwrap().unwrap();
    }
    // What the server's connection has counted is published when it ends.
    drop(store);
    let each = rows_read(&watch, "holds_pkey", BATCHES).await;
    assert!(each <= 32, "{each} rows were read for one");
}

/// How many rows a look-up by this index has read on average, once there were so many.
async fn rows_read(watch: &tokio_postgres::Client, index: &str, look_ups: i64) -> i64 {
    let read = "SELECT idx_tup_read, idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1";
    let waiting = async {
        loop {
            let row = watch.query_one(read, &[&index]).await.unwrap();
            let (read, scans): (i64, i64) = (row.get(0), row.get(1));
            if scans >= look_ups {
                return read / scans;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{index} was not used"))
}

/// A customer who was paid what was due.
#[derive(Debug)]
struct Paid(u64);

impl Paid {
    fn account(&self) -> AccountId {
        AccountId::Job(Uuid::from_u128(self.0.into()))
    }

    fn preimage(&self) -> Preimage {
        let mut bytes = [0x9a; 32];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        Preimage::from_bytes(bytes)
    }

    fn payment_hash(&self) -> PaymentHash {
        self.preimage().payment_hash()
    }
}

impl EngineCommand for Paid {
    type Reply = ();
    const NAME: &'static str = "paid";

    fn declare(&self, keys: &mut RowKeys) {
        keys.obligations.insert(self.account());
        keys.payouts.insert(self.payment_hash());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let (now, one) = (books.now(), Sats::new(1)?);
        let owed = Obligation::open(self.account(), now).accrue(one, now)?;
        books.rows.obligations.put(Obligation { due: Sats::ZERO, ..owed })?;
        books.rows.payouts.put(Payout {
            payment_hash: self.payment_hash(),
            id: PaymentId(Uuid::from_u128(self.0.into())),
            account: self.account(),
            payment_request: String::new(),
            amount: one,
            fee_limit: Sats::ZERO,
            state: PayoutState::Paid { preimage: self.preimage(), fee: Msats::ZERO },
            attempts: 1,
            looks: 0,
            next_look_at: now,
            created_at: now,
            updated_at: now,
        })
    }
}

/// The same for obligations and payouts. When many customers were paid, what is still to be paid is found without reading them.
#[tokio::test]
async fn obligations_and_payouts_are_read_by_key_and_those_that_wait_by_their_own_indexes() {
    let database = database().await;
    let watch = client(database.url()).await;
    watch.batch_execute("VACUUM ANALYZE").await.unwrap();
    let store = server(database.url()).await;
    let now = Timestamp::UNIX_EPOCH;
    for n in 0..BATCHES.unsigned_abs() {
        store.batch_commit(&Batch::new(vec![Paid(n).into()], now)).await.unwrap();
    }
    drop(store);
    for index in ["obligations_pkey", "payouts_pkey"] {
        let each = rows_read(&watch, index, BATCHES).await;
        assert!(each <= 32, "{index}: {each} rows were read for one");
    }
    watch.batch_execute("VACUUM ANALYZE").await.unwrap();
    let store = server(database.url()).await;
    assert_eq!(store.obligations_payable(now, 9).await.unwrap(), []);
    assert_eq!(store.obligations_due(None, 9).await.unwrap(), []);
    assert_eq!(store.payouts_in_flight(now, 9).await.unwrap(), []);
    assert_eq!(store.payouts_of(Paid(7).account()).await.unwrap().len(), 1);
    assert_eq!(store.wallet_transfers(now).await.unwrap(), []);
    drop(store);
    for index in ["obligations_payable", "obligations_due", "payouts_in_flight", "payouts_by_account"] {
        let each = rows_read(&watch, index, 1).await;
        assert!(each <= 1, "{index}: {each} rows were read");
    }
}

/// An install that has had its request done, and that nobody else shares its origin with.
#[derive(Debug)]
struct Served(u64);

impl Served {
    fn install(&self) -> InstallId {
        InstallId::new(Uuid::from_u128(self.0.into()))
    }

    fn credit(&self) -> CreditId {
        CreditId(Uuid::from_u128(self.0.into()))
    }

    fn origin(&self) -> String {
        format!("192.0.2.{}", self.0)
    }
}

impl EngineCommand for Served {
    type Reply = ();
    const NAME: &'static str = "served";

    fn declare(&self, keys: &mut RowKeys) {
        keys.install_origins.insert(self.origin());
        keys.installs.insert(self.install());
        keys.credits.insert(self.credit());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let now = books.now();
        let new = NewCredit {
            id: self.credit(),
            plan: Plan::Core,
            quota: Plans::default().core,
            has_hardware: false,
            lease: Duration::from_mins(1),
        };
        let held = new.reserve(&Install::new(self.install(), now), now)?;
        let done = held.credit.commit(&held.install, now)?;
        books.rows.install_origins.put(InstallOrigin::new(self.origin(), now))?;
        books.rows.installs.put(done.install)?;
        books.rows.credits.put(done.credit)
    }
}

/// The same for installs and credits. When many requests were done, those that are overdue, and those that took nothing, are found
/// without reading them.
#[tokio::test]
async fn installs_and_credits_are_read_by_key_and_those_that_wait_by_their_own_indexes() {
    let database = database().await;
    let watch = client(database.url()).await;
    watch.batch_execute("VACUUM ANALYZE").await.unwrap();
    let store = server(database.url()).await;
    let now = Timestamp::UNIX_EPOCH;
    for n in 0..BATCHES.unsigned_abs() {
        store.batch_commit(&Batch::new(vec![Served(n).into()], now)).await.unwrap();
    }
    drop(store);
    for index in ["install_credits_pkey", "credits_pkey", "install_origins_pkey"] {
        let each = rows_read(&watch, index, BATCHES).await;
        assert!(each <= 32, "{index}: {each} rows were read for one");
    }
    watch.batch_execute("VACUUM ANALYZE").await.unwrap();
    let store = server(database.url()).await;
    assert_eq!(store.credits_overdue(now, 9).await.unwrap(), []);
    assert_eq!(store.credits_purge(Timestamp::MAX, 9).await.unwrap(), 0);
    assert_eq!(store.install_origins_purge(now, 9).await.unwrap(), 0);
    drop(store);
    for index in ["credits_held", "credits_given_back", "install_origins_since"] {
        let each = rows_read(&watch, index, 1).await;
        assert!(each <= 1, "{index}: {each} rows were read");
    }
}
