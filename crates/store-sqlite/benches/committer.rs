//! The committer on SQLite against its floor: the same debits, one transaction each.
//!
//! Durable (`synchronous=FULL`), on real files, in interleaved rounds of one run; what counts is the ratio of the medians.
//! Run it with `just bench`.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "rates are for people")]

use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_clock::{Entropy, SystemClock, SystemEntropy};
use tithe_engine::commands::{Batch, Command, Posting};
use tithe_engine::committer::Committer;
use tithe_engine::feed::JobFeed;
use tithe_engine::store::Store;
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Msats;
use tithe_store_sqlite::{SqliteSettings, SqliteStore};
use uuid::Uuid;

const ROUNDS: usize = 5;
const ACCOUNTS: u128 = 10_000;
const ROUND: Duration = Duration::from_secs(2);
const CALLERS: [usize; 3] = [1, 32, 256];

fn id() -> Uuid {
    let entropy: &dyn Entropy = &SystemEntropy;
    Uuid::from_bytes(entropy.bytes())
}

fn posting(debit: AccountId, credit: AccountId, amount: u64, kind: TransferKind) -> Command {
    let key = TransferKey::new(id().to_string());
    Command::Post(Posting {
        key,
        debit,
        credit,
        amount: Msats::new(amount).unwrap(),
        kind,
        reference: Uuid::nil(),
    })
}

fn debit() -> Command {
    let session = AccountId::Session(Uuid::from_u128(id().as_u128() % ACCOUNTS));
    posting(session, AccountId::Revenue, 1, TransferKind::Charge)
}

/// Debits per second and the 50th and 99th percentile of their latencies.
struct Figures {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

/// Runs `callers` loops for a round.
async fn round<F: Future<Output = ()> + Send>(
    callers: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> Figures {
    let began = Instant::now();
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let call = call.clone();
        loops.spawn(async move {
            let mut latencies = Vec::new();
            while began.elapsed() < ROUND {
                let asked = Instant::now();
                call().await;
                latencies.push(asked.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<Duration> = loops.join_all().await.into_iter().flatten().collect();
    let took = began.elapsed();
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or_default();
    Figures { rate: latencies.len() as f64 / took.as_secs_f64(), p50: at(50), p99: at(99) }
}

fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    figures.swap_remove(figures.len() / 2)
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&url, SqliteSettings::default()).await.unwrap());
    let clock = Arc::new(SystemClock);
    let fund = |n| {
        posting(
            AccountId::Operator,
            AccountId::Session(Uuid::from_u128(n)),
            1_000_000_000,
            TransferKind::Adjustment,
        )
    };
    for chunk in 0..ACCOUNTS / 500 {
        let commands = (chunk * 500..(chunk + 1) * 500).map(fund).collect();
        store.batch_commit(&Batch::new(commands, tithe_clock::Timestamp::UNIX_EPOCH)).await.unwrap();
    }
    let committer = Committer::start(store.clone(), clock, Arc::new(JobFeed::new()));

    println!(
        "debits on {ACCOUNTS} accounts, synchronous=FULL; medians of {ROUNDS} interleaved rounds of {ROUND:?}"
    );
    println!("{:<42} {:>10} {:>10} {:>10} {:>8}", "", "per second", "p50", "p99", "× floor");
    for callers in CALLERS {
        let (mut floor, mut batched) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let alone = store.clone();
            let single = move || {
                let store = alone.clone();
                async move {
                    let batch = Batch::new(vec![debit()], tithe_clock::Timestamp::UNIX_EPOCH);
                    store.batch_commit(&batch).await.unwrap().outcomes.remove(0).unwrap();
                }
            };
            floor.push(round(callers, single).await);
            let shared = committer.clone();
            let call = move || {
                let committer = shared.clone();
                async move {
                    committer.commit(debit()).await.unwrap();
                }
            };
            batched.push(round(callers, call).await);
        }
        let (floor, batched) = (median(floor), median(batched));
        for (name, figures) in [("one transaction each (the floor)", &floor), ("committer", &batched)] {
            let Figures { rate, p50, p99 } = figures;
            let name = format!("{name}, {callers} at once");
            println!("{name:<42} {rate:>10.0} {p50:>10.1?} {p99:>10.1?} {:>8.2}", rate / floor.rate);
        }
    }
}
