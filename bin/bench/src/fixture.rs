//! Fixtures of the measurements: durable clusters, databases and accounts.

use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_engine::audit::audit;
use tithe_engine::books::{AnyCommand, Batch, Post, Posting, Rules};
use tithe_engine::charging::{self, Absorb, FinishedWork, WorkCharge};
use tithe_engine::identities::RequestSignature;
use tithe_engine::payments::{InvoiceIssue, PaymentCredit};
use tithe_engine::pool::{GrantRelease, GrantReserve};
use tithe_engine::sessions::{SessionCreate, SessionOwner};
use tithe_engine::store::Store;
use tithe_free_tier::{RequestHash, ReservationId};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceState, OwnerId, Preimage, Purpose, ReceivedPayment};
use tithe_money::{Msats, Sats};
use tithe_paywall::{Macaroon, RootKey};
use tithe_sessions::{NewSession, Session, SessionId, SessionKind};
use tithe_store_postgres::{PostgresSettings, PostgresStore};
use tithe_store_sqlite::{SqliteSettings, SqliteStore};
use tithe_test_postgres::{Cluster, ClusterOptions};
use tithe_trust::NostrPubkey;
use tokio_postgres::NoTls;
use uuid::Uuid;

/// The initial balance of each session, in millisats.
pub(crate) const FUNDS: u64 = 1_000_000_000;

/// A durable cluster whose checkpoints do not fall into a round.
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

/// Queries one number from a database of a cluster.
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
pub(crate) fn debit(number: u32, amount: Msats, clock: &dyn Clock, entropy: &dyn Entropy) -> Post {
    Post(Posting {
        key: TransferKey::new(format!("charge:{}", new_id(clock, entropy))),
        debit: session(number),
        credit: AccountId::Revenue,
        amount,
        kind: TransferKind::Charge,
        reference: session_id(number),
    })
}

/// The identity of a session. Nobody has the secret key of such an identity.
pub(crate) fn identity(number: u32) -> NostrPubkey {
    NostrPubkey::restore(&format!("{number:064x}")).unwrap()
}

/// The initial balance of the pool, in millisats.
pub(crate) const POOL: u64 = 1_000_000_000_000_000;

/// Who pays for the work that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payer {
    /// The pool.
    Pool,
    /// The pool and a session, half each; a tenth of what the session pays goes into the pool.
    Both,
}

/// The pool's share of each piece of work, in millisats.
pub(crate) const POOL_PAYS: u64 = 10;

impl Payer {
    /// What the session pays, and how much of that goes into the pool.
    const fn session_pays(self) -> (u64, u64) {
        match self {
            Self::Pool => (0, 0),
            Self::Both => (POOL_PAYS, POOL_PAYS / 10),
        }
    }

    /// The number of transfers per piece of work.
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
) -> WorkCharge {
    let cost = Msats::new(POOL_PAYS + payer.session_pays().0).unwrap();
    WorkCharge(FinishedWork {
        id: new_id(clock, entropy),
        identity: Some(identity),
        cost,
        limit: cost,
        absorb: Absorb::UpTo(Msats::new(POOL_PAYS).unwrap()),
        payer: charging::Payer::Balance(session(number)),
        request_hash: RequestHash::from_bytes([7; 32]),
    })
}

/// Rules under which every identity gets grants from the pool.
pub(crate) fn generous() -> Rules {
    let mut rules = Rules::default();
    rules.free_tier.budgets.new = Sats::new(FUNDS / 1_000).unwrap();
    rules.free_tier.pool_initial = Sats::ZERO;
    rules
}

/// Creates an identity for every session, and funds the pool.
pub(crate) async fn befriend(store: &dyn Store, sessions: u32) {
    let pool = Post(Posting {
        key: TransferKey::new("fund:pool"),
        debit: AccountId::Operator,
        credit: AccountId::Pool,
        amount: Msats::new(POOL).unwrap(),
        kind: TransferKind::PoolSeed,
        reference: Uuid::nil(),
    });
    // Making and releasing a reservation creates the identity's row without using its budget.
    let met = |number: u32| {
        let (reservation, identity) = (ReservationId(session_id(number)), identity(number));
        let (amount, lease) = (Msats::new(1).unwrap(), Duration::from_mins(1));
        [
            AnyCommand::from(GrantReserve { reservation, identity, amount, lease }),
            AnyCommand::from(GrantRelease { reservation, identity }),
        ]
    };
    let commands: Vec<AnyCommand> =
        std::iter::once(AnyCommand::from(pool)).chain((0..sessions).flat_map(met)).collect();
    for chunk in commands.chunks(500) {
        let batch = Batch::under(Arc::new(generous()), chunk.to_vec(), SystemClock.now());
        let committed = store.batch_commit(&batch).await.unwrap();
        assert!(committed.outcomes.iter().all(Result::is_ok), "an identity was not created");
    }
}

/// Panics unless every acknowledged grant is in the database and the books balance.
pub(crate) async fn check_grants(store: &dyn Store, sessions: u32, payer: Payer, grants: u64) {
    let report = audit(store).await.unwrap();
    assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
    assert_eq!(report.grants, grants, "grants, against responses of 200");
    // One transfer funds each session and one the pool; each grant adds its own transfers.
    let transfers = u64::from(sessions) + 1 + payer.transfers() * grants;
    assert_eq!(report.transfers, transfers, "transfers, against responses of 200");
    let sum =
        |wanted| report.balances.iter().find(|(account, _)| *account == wanted).map_or(0, |(_, sum)| *sum);
    let (charged, tithe) = payer.session_pays();
    let (each, tithe) = (i128::from(POOL_PAYS + charged - tithe), i128::from(POOL_PAYS - tithe));
    assert_eq!(sum(AccountId::Revenue), i128::from(grants) * each, "revenue, against responses of 200");
    assert_eq!(sum(AccountId::Pool), i128::from(POOL) - i128::from(grants) * tithe, "the pool");
}

/// Opens sessions that are paid for, as customers do: created, invoiced, paid. With `identities`, each has its own.
pub(crate) async fn open_sessions(store: &dyn Store, sessions: u32, identities: bool) {
    let commands = |number: u32| {
        let (id, now) = (SessionId(session_id(number)), SystemClock.now());
        let deposit = Sats::new(FUNDS / 1_000).unwrap();
        let identity = identities.then(|| identity(number));
        let session = Session::new(NewSession {
            id,
            kind: SessionKind::Prepaid,
            deposit,
            identity,
            webhook: None,
            return_to: None,
            created_at: now,
        });
        let mut preimage = [0x5e; 32];
        preimage[..4].copy_from_slice(&number.to_be_bytes());
        let preimage = Preimage::from_bytes(preimage);
        let payment_hash = preimage.payment_hash();
        let invoice = Invoice {
            payment_hash,
            purpose: Purpose::SessionDeposit,
            owner: OwnerId(id.0),
            payment_request: format!("lnbcrt{payment_hash}"),
            amount: deposit.to_msats(),
            state: InvoiceState::Pending,
            created_at: now,
            expires_at: now + Duration::from_hours(1),
        };
        let (amount, preimage) = (deposit.to_msats(), Some(preimage));
        let payment =
            ReceivedPayment { payment_hash, amount, liquidity_fee: Msats::ZERO, preimage, received_at: now };
        let owner: Arc<SessionOwner> = Arc::new(SessionOwner::new(id));
        let signature = RequestSignature(None);
        [
            AnyCommand::from(SessionCreate {
                session: Box::new(session),
                idempotency: None,
                signature,
                instead_of: None,
            }),
            AnyCommand::from(InvoiceIssue { owner: owner.clone(), invoice, finish: None }),
            AnyCommand::from(PaymentCredit { owner, payment }),
        ]
    };
    let numbers: Vec<u32> = (0..sessions).collect();
    for chunk in numbers.chunks(200) {
        let commands = chunk.iter().copied().flat_map(commands).collect();
        let committed = store.batch_commit(&Batch::new(commands, SystemClock.now())).await.unwrap();
        assert!(committed.outcomes.iter().all(Result::is_ok), "a session was not opened");
    }
}

/// Panics unless the books balance.
pub(crate) async fn check_sound(store: &dyn Store) {
    let report = audit(store).await.unwrap();
    assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
}

/// The macaroon of a session, as the server makes it.
pub(crate) fn macaroon(secret: &[u8], number: u32) -> String {
    let identifier = format!("session:{}", session_id(number));
    let root_key = RootKey::derive(secret, identifier.as_bytes());
    Macaroon::mint(&root_key, "tithe", identifier.as_bytes()).unwrap().encode()
}

/// Gives every session its funds.
pub(crate) async fn fund(store: &dyn Store, sessions: u32) {
    let command = |number| {
        Post(Posting {
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
        let commands = chunk.iter().copied().map(command).map(AnyCommand::from).collect();
        let committed = store.batch_commit(&Batch::new(commands, SystemClock.now())).await.unwrap();
        assert!(committed.outcomes.iter().all(Result::is_ok), "a session was not funded");
    }
}

/// Panics unless every acknowledged charge is in the database and the books balance.
pub(crate) async fn check(store: &dyn Store, sessions: u32, charges: u64) {
    let report = audit(store).await.unwrap();
    assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
    assert_eq!(report.transfers, u64::from(sessions) + charges, "transfers, against responses of 200");
    let revenue = report.balances.iter().find(|(account, _)| *account == AccountId::Revenue);
    assert_eq!(
        revenue.map_or(0, |(_, msats)| *msats),
        i128::from(charges),
        "revenue, against responses of 200"
    );
}
