//! Streams of commands that meet on several servers.

use super::compare::said;
use super::op::op;
use super::recorder::{Entry, Log, Recorder};
use super::rows::Said;
use super::run::{Course, Run, Tally, runner, views, wait};
use super::world::World;
use crate::command::Command;
use crate::layered::Layered;
use crate::people::committer_under;
use proptest::strategy::{Strategy as _, ValueTree};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, ManualClock};
use tithe_engine::store::Store;
use tithe_ledger::credits::InstallId;
use tithe_licences::LicenceId;
use tithe_lightning::PaymentHash;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// When rows came to be, by the recorder's count.
#[derive(Default)]
struct Made {
    jobs: HashMap<Uuid, u64>,
    invoices: HashMap<PaymentHash, u64>,
    people: HashMap<NostrPubkey, u64>,
    installs: HashMap<InstallId, u64>,
    revoked: HashMap<LicenceId, u64>,
}

impl Made {
    /// Notes what a batch has made.
    fn note(&mut self, world: &World, batch: &Entry) {
        for id in world.jobs.keys() {
            self.jobs.entry(*id).or_insert(batch.ended);
        }
        for hash in world.invoices.keys() {
            self.invoices.entry(*hash).or_insert(batch.ended);
        }
        for who in world.people.keys() {
            self.people.entry(*who).or_insert(batch.ended);
        }
        for install in world.installs.keys() {
            self.installs.entry(*install).or_insert(batch.ended);
        }
        for licence in world.revoked.keys() {
            self.revoked.entry(*licence).or_insert(batch.ended);
        }
    }

    /// The world without what was not there for certain when a batch began.
    fn before(&self, world: &World, batch: &Entry) -> World {
        let mut before = world.clone();
        before.jobs.retain(|id, _| self.jobs.get(id).is_none_or(|made| *made < batch.began));
        before.invoices.retain(|hash, _| self.invoices.get(hash).is_none_or(|made| *made < batch.began));
        before.people.retain(|who, _| self.people.get(who).is_none_or(|made| *made < batch.began));
        before.installs.retain(|id, _| self.installs.get(id).is_none_or(|made| *made < batch.began));
        before
    }

    /// The world without the revocations that were not there for certain when a batch began.
    fn before_revocations(&self, world: &World, batch: &Entry) -> World {
        let mut before = world.clone();
        before.revoked.retain(|id, _| self.revoked.get(id).is_none_or(|made| *made < batch.began));
        before
    }
}

impl Run {
    /// Asks the reference for a batch that was committed.
    ///
    /// What does not exist cannot be locked, so a batch may find that there is no such job while another makes it, and then
    /// wait for that one to commit. It may say so, for that was so when it looked; but it must change nothing on the ground of
    /// it, and not say so of what was there before it was asked.
    fn replay(&mut self, batch: &Entry, made: &Made, context: &str) {
        for (command, outcome) in batch.commands.iter().zip(&batch.outcomes) {
            let (told, before) = (said(outcome), self.world.clone());
            let wanted = self.world.run(command, batch.now);
            if told != wanted
                && wanted == Said::Refused("revoked")
                && told == made.before_revocations(&before, batch).run(command, batch.now)
            {
                // It began before its licence was revoked.
                self.world = before;
                self.world.run_before_revocations(command, batch.now);
            } else if told != wanted {
                let seen = made.before(&before, batch).run(command, batch.now);
                let excused = match (&seen, command) {
                    (Said::Refused(_), _) => true,
                    // A stranger has logged in: the proof is used, and nobody was seen.
                    (Said::Done, Command::AuthNonceConsume { .. }) => true,
                    _ => false,
                };
                assert!(
                    excused && told == seen,
                    "{context}, at {}: {command:?} came to {told:?}, not {wanted:?}",
                    batch.now
                );
                self.world = before;
                self.world.note_proof(command);
            }
            self.count(command, &told);
        }
    }
}

/// Lets `streams` streams of `length` random commands each meet on all servers of a fresh database, whose clocks go each
/// their own way, days apart. Says what was met.
pub async fn race(
    servers: &[Arc<dyn Store>],
    course: &Course,
    seed: u8,
    streams: u8,
    length: usize,
) -> Tally {
    let log = Arc::new(Log::default());
    let record = |store: &Arc<dyn Store>| -> Arc<dyn Store> {
        Arc::new(Layered(Recorder { store: store.clone(), log: log.clone() }))
    };
    let recorders: Vec<Arc<dyn Store>> = servers.iter().map(record).collect();
    let mut run = Run::new(servers[0].clone(), course);
    run.begin(course).await;
    let clocks: Vec<Arc<ManualClock>> = servers.iter().map(|_| Arc::new(ManualClock::at(run.now))).collect();
    let committers: Vec<_> = recorders
        .iter()
        .zip(&clocks)
        .map(|(store, clock)| committer_under(store, &course.rules, clock.clone()))
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for stream in 0..streams {
        let mut runner = runner(seed.wrapping_mul(31).wrapping_add(stream));
        let steps = proptest::collection::vec((op(course.asks), wait(course)), length)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let (servers, clocks, committers) = (servers.to_vec(), clocks.clone(), committers.clone());
        tasks.spawn(async move {
            for (at, (op, wait)) in steps.into_iter().enumerate() {
                let server = (usize::from(stream) + at / 3) % servers.len();
                // All streams together go through an epoch's jobs in a few steps each.
                let epoch = u32::try_from(at / 8).unwrap();
                let views = views(&servers[server], epoch).await;
                // One of the clocks moves for all streams in each round of steps.
                if at % usize::from(streams) == usize::from(stream) {
                    clocks[server].advance(Duration::from_secs(wait));
                }
                let command = op.command(epoch, &views, clocks[server].now());
                let _told = committers[server].commit(command).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a stream ends");
    }
    let entries = log.in_order(servers[0].as_ref()).await;
    let mut made = Made::default();
    for (at, entry) in entries.iter().enumerate() {
        run.replay(entry, &made, &format!("seed {seed}, batch {at} of {}", entries.len()));
        made.note(&run.world, entry);
    }
    run.world.compare(servers[0].as_ref(), &format!("seed {seed}, after the race")).await;
    let commands: usize = entries.iter().map(|entry| entry.commands.len() - 1).sum();
    assert_eq!(commands, usize::from(streams) * length);
    run.tally
}
