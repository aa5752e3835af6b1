//! What is measured on: durable clusters, databases and accounts in them.

use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::Rules;
use tithe_engine::audit::audit;
use tithe_engine::commands::{Batch, Charge, Command, Posting};
use tithe_engine::store::Store;
use tithe_free_tier::{GrantId, RequestHash, ReservationId};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::{Msats, Sats};
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tithe_trust::NostrPubkey;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// What each session is given.
pub(crate) const FUNDS: u64 = 1_000_000_000;

/// A cluster that loses nothing, and does not stop for a checkpoint in the middle of a round.
pub(crate) fn cluster() -> Cluster {
    let settings = [("shared_buffers", "512MB"), ("max_wal_size", "4GB"), ("checkpoint_timeout", "30min")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Cluster::start(ClusterOptions { durable: true, settings, ..ClusterOptions::default() }).unwrap()
}

/// Runs statements on a database of a cluster.
pub(crate) async fn execute(url: &str, statements: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

/// Asks a database of a cluster for one number.
pub(crate) async fn number(url: &str, query: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let number = client.query_one(query, &[]).await.unwrap().get(0);
    drop(client);
    driver.await.unwrap().unwrap();
    number
}

/// The store of a database, as the server opens it.
pub(crate) async fn open(url: &str) -> Arc<dyn Store> {
    if url.starts_with("sqlite://") {
        Arc::new(SqliteStore::open(url, SqliteSettings::default()).await.unwrap())
    } else {
        Arc::new(PostgresStore::open(url, PostgresSettings::default()).await.unwrap())
    }
}

/// The account of a session.
pub(crate) fn session(number: u32) -> AccountId {
    AccountId::Session(session_id(number))
}

/// The id of a session.
pub(crate) fn session_id(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// A new id: the time, then randomness, as the engine makes them.
pub(crate) fn new_id(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let millis = u64::try_from(clock.now().unix_micros() / 1_000).unwrap();
    uuid::Builder::from_unix_timestamp_millis(millis, &entropy.bytes()).into_uuid()
}

/// The debit that is measured.
pub(crate) fn debit(number: u32, amount: Msats, clock: &dyn Clock, entropy: &dyn Entropy) -> Command {
    Command::Post(Posting {
        key: TransferKey::new(format!("charge:{}", new_id(clock, entropy))),
        debit: session(number),
        credit: AccountId::Revenue,
        amount,
        kind: TransferKind::Charge,
        reference: session_id(number),
    })
}

/// Who a session belongs to where that matters. Nobody has the secret of such a key.
pub(crate) fn identity(number: u32) -> NostrPubkey {
    NostrPubkey::restore(&format!("{number:064x}")).unwrap()
}

/// What the pool is given.
pub(crate) const POOL: u64 = 1_000_000_000_000_000;

/// Who pays for the work that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// The pool.
    Pool,
    /// The pool and a session by halves; a tenth of what the session pays goes into the pool.
    Both,
}

/// What the pool pays of each piece of work.
pub(crate) const POOL_PAYS: u64 = 10;

impl Payer {
    /// What the session pays, and what of that goes into the pool.
    const fn session_pays(self) -> (u64, u64) {
        match self {
            Self::Pool => (0, 0),
            Self::Both => (POOL_PAYS, POOL_PAYS / 10),
        }
    }

    /// How many transfers that makes.
    const fn transfers(self) -> u64 {
        match self {
            Self::Pool => 1,
            Self::Both => 3,
        }
    }
}

/// The grant that is measured.
pub(crate) fn grant(
    payer: Payer,
    number: u32,
    identity: NostrPubkey,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Command {
    Command::Charge(Charge {
        id: GrantId(new_id(clock, entropy)),
        account: session(number),
        identity: Some(identity),
        cost: Msats::new(POOL_PAYS + payer.session_pays().0).unwrap(),
        absorb_most: Msats::new(POOL_PAYS).unwrap(),
        request_hash: RequestHash::from_bytes([7; 32]),
    })
}

/// The rules under which everybody may take from the pool.
pub(crate) fn generous() -> Rules {
    let mut rules = Rules::default();
    rules.free_tier.budgets.new = Sats::new(FUNDS / 1_000).unwrap();
    rules.free_tier.pool_initial = Sats::ZERO;
    rules
}

/// Makes an identity for every session, and fills the pool.
pub(crate) async fn befriend(store: &dyn Store, sessions: u32) {
    let pool = Command::Post(Posting {
        key: TransferKey::new("fund:pool"),
        debit: AccountId::Operator,
        credit: AccountId::Pool,
        amount: Msats::new(POOL).unwrap(),
        kind: TransferKind::PoolSeed,
        reference: Uuid::nil(),
    });
    // A reservation that is given back makes the row and leaves nothing else that counts.
    let met = |number: u32| {
        let (reservation, identity) = (ReservationId(session_id(number)), identity(number));
        let (amount, lease) = (Msats::new(1).unwrap(), Duration::from_mins(1));
        [
            Command::GrantReserve { reservation, identity, amount, lease },
            Command::GrantRelease { reservation, identity },
        ]
    };
    let commands: Vec<Command> = std::iter::once(pool).chain((0..sessions).flat_map(met)).collect();
    for chunk in commands.chunks(500) {
        let batch = Batch::under(Arc::new(generous()), chunk.to_vec(), SystemClock.now());
        let committed = store.batch_commit(&batch).await.unwrap();
        assert!(committed.outcomes.iter().all(Result::is_ok), "an identity was not made");
    }
}

/// Fails unless all is there that was granted, and the books balance.
pub(crate) async fn check_grants(store: &dyn Store, sessions: u32, payer: Payer, grants: u64) {
    let report = audit(store).await.unwrap();
    assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
    assert_eq!(report.grants, grants, "grants, against answers of 200");
    // The funds and the pool's; of each grant the grant itself, and what the session pays.
    let transfers = u64::from(sessions) + 1 + payer.transfers() * grants;
    assert_eq!(report.transfers, transfers, "transfers, against answers of 200");
    let sum =
        |wanted| report.balances.iter().find(|(account, _)| *account == wanted).map_or(0, |(_, sum)| *sum);
    let (charged, tithe) = payer.session_pays();
    let (each, tithe) = (i128::from(POOL_PAYS + charged - tithe), i128::from(POOL_PAYS - tithe));
    assert_eq!(sum(AccountId::Revenue), i128::from(grants) * each, "revenue, against answers of 200");
    assert_eq!(sum(AccountId::Pool), i128::from(POOL) - i128::from(grants) * tithe, "the pool");
}

/// Gives every session its funds.
pub(crate) async fn fund(store: &dyn Store, sessions: u32) {
    let command = |number| {
        Command::Post(Posting {
            key: TransferKey::new(format!("fund:{}", new_id(&SystemClock, &SystemEntropy))),
            debit: AccountId::Operator,
            credit: session(number),
            amount: Msats::new(FUNDS).unwrap(),
            kind: TransferKind::Adjustment,
            reference: session_id(number),
        })
    };
    let numbers: Vec<u32> = (0..sessions).collect();
    for chunk in numbers.chunks(500) {
        let commands = chunk.iter().copied().map(command).collect();
        let committed = store.batch_commit(&Batch::new(commands, SystemClock.now())).await.unwrap();
        assert!(committed.outcomes.iter().all(Result::is_ok), "a session was not funded");
    }
}

/// Fails unless all is there that was answered for, and the books balance.
pub(crate) async fn check(store: &dyn Store, sessions: u32, charges: u64) {
    let report = audit(store).await.unwrap();
    assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
    assert_eq!(report.transfers, u64::from(sessions) + charges, "transfers, against answers of 200");
    let revenue = report.balances.iter().find(|(account, _)| *account == AccountId::Revenue);
    assert_eq!(
        revenue.map_or(0, |(_, msats)| *msats),
        i128::from(charges),
        "revenue, against answers of 200"
    );
}
