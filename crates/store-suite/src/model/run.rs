//! A run of random commands against one server.

use super::ask_op::{AskOp, CREDITS};
use super::compare::said;
use super::numbers::{HOLDS, JOBS, PEOPLE, RESERVATIONS, job_id};
use super::op::{Op, Step, Views, op, tight};
use super::rows::Said;
use super::rules::Plain;
use super::world::World;
use crate::command::{Charge, Command, batch_under, outcomes};
use crate::people::{account, pubkey};
use crate::scene::{EXPIRY, START, claim, fund, msats};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::Rules;
use tithe_engine::store::Store;
use tithe_free_tier::{GrantId, RequestHash};
use tithe_jobs::JobClaim;
use tithe_ledger::AccountId;
use uuid::Uuid;

const HOUR: u64 = 60 * 60;

/// How many batches an epoch has: then its jobs and reservations are ended, and others begin.
const EPOCH: usize = 20;

/// For how many days each of them pays, in weeks in which people may: by the design's rules this makes two new, and one each
/// established, trusted and of the elite.
const DAYS_PAID: [u64; 5] = [0, 1, 4, 20, 35];

/// How often each kind of command came to what: so that a test can say that it has met what it is for.
pub type Tally = BTreeMap<(&'static str, String), u32>;

/// The rules that a run is under, and what the pool begins with.
#[derive(Debug, Clone)]
pub struct Course {
    pub(super) rules: Rules,
    pool: u64,
    /// For how many days people pay before it begins, the longest of [`DAYS_PAID`]; or none.
    days_paid: u64,
    /// How many waits there are to each long absence.
    absence: u32,
    /// How many of a hundred commands are those of plain requests.
    pub(super) asks: u32,
}

impl Course {
    /// Rules under which every limit is near, and a pool for a few pieces of work.
    #[must_use]
    pub fn tight() -> Self {
        Self { rules: tight(), pool: 90_000, days_paid: 0, absence: 30, asks: 12 }
    }

    /// The same, with mostly plain requests.
    #[must_use]
    pub fn of_installs() -> Self {
        Self { asks: 85, ..Self::tight() }
    }

    /// The design's rules, under which it takes weeks to be trusted.
    #[must_use]
    pub fn by_design() -> Self {
        Self { rules: Rules::default(), pool: 400_000, days_paid: 35, absence: 150, asks: 12 }
    }
}

pub(super) fn runner(seed: u8) -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

/// A run against one server.
pub(super) struct Run {
    pub(super) store: Arc<dyn Store>,
    pub(super) rules: Arc<Rules>,
    pub(super) world: World,
    pub(super) now: Timestamp,
    pub(super) tally: Tally,
}

impl Run {
    pub(super) fn new(store: Arc<dyn Store>, course: &Course) -> Self {
        let world = World::new(Plain::of(&course.rules));
        Self { store, rules: Arc::new(course.rules.clone()), world, now: START, tally: Tally::new() }
    }

    /// Commits a batch, and asks the reference for the same. Each must answer what the other does.
    async fn commit(&mut self, commands: Vec<Command>, context: &str) {
        let batch = batch_under(self.rules.clone(), commands.clone(), self.now);
        let committed = self.store.batch_commit(&batch).await.expect("every batch can be written");
        for (command, outcome) in commands.iter().zip(outcomes(committed.outcomes)) {
            self.expect(command, &said(&outcome), self.now, context);
        }
    }

    pub(super) fn expect(&mut self, command: &Command, told: &Said, now: Timestamp, context: &str) {
        let wanted = self.world.run(command, now);
        assert_eq!(*told, wanted, "{context}, at {now}: {command:?}");
        self.count(command, told);
    }

    pub(super) fn count(&mut self, command: &Command, told: &Said) {
        let kind = self.world.what_it_was(command, told);
        *self.tally.entry((command.name(), kind)).or_default() += 1;
    }

    /// Money for the pool and for accounts, and the days in which people have paid.
    pub(super) async fn begin(&mut self, course: &Course) {
        let mut commands = vec![fund(AccountId::Pool, msats(course.pool))];
        commands.extend(
            [(0, 40_000_000), (1, 40_000_000), (2, 30_000)]
                .map(|(n, amount)| fund(account(n), msats(amount))),
        );
        self.commit(commands, "in the beginning").await;
        for day in 0..course.days_paid {
            let pays = |who: &u32| day + DAYS_PAID[usize::try_from(*who).unwrap()] >= course.days_paid;
            let mut commands = Vec::new();
            for who in (0..PEOPLE).filter(pays) {
                commands.extend((0..3).map(|n| {
                    Command::Charge(Charge {
                        id: GrantId(Uuid::from_u128(
                            4 << 100 | u128::from(day) << 16 | u128::from(who) << 8 | n,
                        )),
                        account: account(0),
                        identity: Some(pubkey(who)),
                        cost: msats(50_000),
                        absorb_most: msats(0),
                        request_hash: RequestHash::of("paid"),
                    })
                }));
            }
            self.commit(commands, "in the days before").await;
            self.now = self.now + Duration::from_secs(24 * HOUR);
        }
        self.world.compare(self.store.as_ref(), "after the beginning").await;
    }

    /// Ends what is left of an epoch, as sweeps do, and forgets what may be forgotten.
    async fn sweep(&mut self, epoch: u32) {
        self.now = self.now + EXPIRY;
        let views = views(&self.store, epoch).await;
        let ends = (0..JOBS).filter_map(|n| {
            let job = views.get(&job_id(epoch, n))?;
            Some(Op::Job(n, Step::last(job)?).command(epoch, &views, self.now))
        });
        let lapses = (0..RESERVATIONS).map(|n| Op::Lapse(n, false).command(epoch, &views, self.now));
        let holds = (0..HOLDS).map(|n| Op::HoldExpire(n).command(epoch, &views, self.now));
        let credits = (0..CREDITS).map(|n| Op::Ask(AskOp::Expire(n, false)).command(epoch, &views, self.now));
        let context = format!("sweep {epoch}");
        self.commit(ends.chain(lapses).chain(holds).chain(credits).collect(), &context).await;
        assert_eq!(self.world.credits_held(), 0, "{context}: every credit has ended");
        assert_eq!(self.world.held, 0, "{context}: what was reserved lives no longer than what it is for");
        let forgotten = self.store.auth_nonces_purge(self.now, 10_000).await.unwrap();
        assert_eq!(forgotten, self.world.forget_proofs(self.now), "{context}");
        self.world.compare(self.store.as_ref(), &context).await;
        self.world.compare_revocations(self.store.as_ref(), &context).await;
    }
}

/// Claims whatever there is to do, for good, and reads the jobs of an epoch.
pub(super) async fn views(store: &Arc<dyn Store>, epoch: u32) -> Views {
    let century = Duration::from_secs(100 * 365 * 24 * HOUR);
    let forever = JobClaim { until: START + century, ..claim(1, START + century / 2, 1_000) };
    store.jobs_claim(&forever).await.unwrap();
    let mut views = Views::new();
    for n in 0..JOBS {
        let id = job_id(epoch, n);
        views.extend(store.job(id).await.unwrap().map(|job| (id, job)));
    }
    views
}

/// Mostly a moment; now and then the rest of a lease or an invoice's time, a day, or a long absence.
pub(super) fn wait(course: &Course) -> impl Strategy<Value = u64> + use<> {
    let some = course.absence / 30;
    proptest::prop_oneof![
        22 * some => 0_u64..40,
        4 * some => 100_u64..800,
        3 * some => HOUR..30 * HOUR,
        1 => 31 * 24 * HOUR..45 * 24 * HOUR,
    ]
}

/// Sends `batches` random batches to a fresh store and compares everything after each. Says what was met.
pub async fn drive(store: Arc<dyn Store>, course: &Course, seed: u8, batches: usize) -> Tally {
    let mut runner = runner(seed);
    let mut run = Run::new(store, course);
    run.begin(course).await;
    let batch = (proptest::collection::vec(op(course.asks), 1..18), wait(course));
    for at in 0..batches {
        let epoch = u32::try_from(at / EPOCH).unwrap();
        let (ops, wait) = batch.new_tree(&mut runner).unwrap().current();
        run.now = run.now + Duration::from_secs(wait);
        let views = views(&run.store, epoch).await;
        let commands = ops.iter().map(|op| op.command(epoch, &views, run.now)).collect();
        let context = format!("seed {seed}, batch {at}");
        run.commit(commands, &context).await;
        run.world.compare(run.store.as_ref(), &context).await;
        if at % EPOCH == EPOCH - 1 {
            run.sweep(epoch).await;
        }
    }
    run.tally
}
