//! The engine's background tasks: workers, the wallet's events, other servers' events, polling, sweeping.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::servers;
use crate::store::PeerEvent;
use crate::telemetry;
use futures_util::StreamExt;
use metrics::{counter, histogram};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long the listener waits before it connects to the wallet again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How often warnings are looked for that are due.
const WARN_INTERVAL: Duration = Duration::from_secs(2);

/// How often requests are looked for whose payment is held, and that no server works on; and how often if the operator wants none.
const KEPT_INTERVAL: Duration = Duration::from_secs(1);
const KEPT_INTERVAL_WITHOUT: Duration = Duration::from_secs(30);

/// How often bootstraps are looked for that are due.
const PROVISION_INTERVAL: Duration = Duration::from_secs(2);

/// How long a failing backend is left alone until the next probe: at first, and at most.
const PROBE_RESTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// The engine at work. Dropping it leaves the tasks running; [`Running::stop`] ends them.
pub struct Running {
    engine: Arc<Engine>,
    stop: CancellationToken,
    hand_back: CancellationToken,
    tasks: TaskTracker,
}

/// A background task.
#[derive(Debug, Clone, Copy)]
enum Task {
    /// Works on jobs.
    Work,
    /// Credits what the wallet reports.
    Listen,
    /// Takes note of payments that the wallet reports as held.
    ListenHeld,
    /// Does requests whose payment is held.
    Kept,
    /// Takes in what other servers publish.
    PeerEvents,
    /// Probes the backend at the start, and while it fails.
    Probe,
    /// Has the nodes made that are paid for.
    Provision,
    /// Pays what is owed to customers.
    PayOut,
    /// Does something in rounds.
    Rounds(Round),
}

/// What is done in rounds.
#[derive(Debug, Clone, Copy)]
enum Round {
    /// Pending invoices are looked up.
    Poll,
    /// Expired invoices are looked up, in rounds of their own: there may be many, and new payments must not wait for them.
    PollLate,
    /// Everything that has expired is ended.
    Sweep,
    /// The owners of sessions are warned.
    Warn,
    /// The ledger is compared with the wallet's balance.
    Reconcile,
    /// The database is read for gauges.
    Measure,
    /// The database is audited.
    Audit,
    /// This server is compared with the others on its database.
    Compare,
}

impl Round {
    const ALL: [Self; 8] = [
        Self::Poll,
        Self::PollLate,
        Self::Sweep,
        Self::Warn,
        Self::Reconcile,
        Self::Measure,
        Self::Audit,
        Self::Compare,
    ];

    /// The name, for metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::PollLate => "poll_late",
            Self::Sweep => "sweep",
            Self::Warn => "warn",
            Self::Reconcile => "reconcile",
            Self::Measure => "measure",
            Self::Audit => "audit",
            Self::Compare => "compare",
        }
    }
}

impl Engine {
    /// Starts the background tasks on the current runtime. What a crash has left is continued by their first rounds: unpaid
    /// invoices are polled at once, and jobs are claimed as their leases run out.
    #[must_use]
    pub fn start(self: &Arc<Self>) -> Running {
        let (stop, hand_back, tasks) =
            (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let rounds = Round::ALL.map(Task::Rounds);
        let others = [
            Task::Work,
            Task::Listen,
            Task::ListenHeld,
            Task::Kept,
            Task::PeerEvents,
            Task::Probe,
            Task::Provision,
            Task::PayOut,
        ];
        for task in others.into_iter().chain(rounds) {
            let (engine, stop, hand_back) = (Arc::clone(self), stop.clone(), hand_back.clone());
            let workers = tasks.clone();
            tasks.spawn(async move {
                match task {
                    Task::Work => engine.work_loop(&stop, &hand_back, &workers).await,
                    Task::Listen => engine.listen_loop(&stop).await,
                    Task::ListenHeld => engine.listen_held_loop(&stop).await,
                    Task::Kept => engine.kept_loop(&stop, &hand_back, &workers).await,
                    Task::PeerEvents => engine.peer_loop(&stop).await,
                    Task::Probe => engine.probe_loop(&stop).await,
                    Task::Provision => engine.provision_loop(&stop, &hand_back, &workers).await,
                    Task::PayOut => engine.payout_loop(&stop, &hand_back, &workers).await,
                    Task::Rounds(round) => engine.rounds(round, &stop).await,
                }
            });
        }
        Running { engine: Arc::clone(self), stop, hand_back, tasks }
    }

    async fn work_loop(&self, stop: &CancellationToken, hand_back: &CancellationToken, tasks: &TaskTracker) {
        let settings = self.settings();
        let free = Arc::new(Semaphore::new(settings.workers));
        loop {
            let Ok(first) = Arc::clone(&free).acquire_owned().await else { return };
            if stop.is_cancelled() {
                return;
            }
            let room = free.available_permits() + 1;
            let claimed = match self.jobs.claim(room).await {
                Ok(jobs) => jobs,
                Err(failure) => {
                    warn!(error = chain(&failure), "no jobs could be claimed");
                    Vec::new()
                }
            };
            let idle = claimed.len() < room;
            drop(first);
            for job in claimed {
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
                let (jobs, hand_back) = (Arc::clone(&self.jobs), hand_back.clone());
                tasks.spawn(async move {
                    jobs.work(job, &hand_back).await;
                    drop(permit);
                });
            }
            if idle {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.jobs.feed().runnable() => {}
                    () = tokio::time::sleep(settings.claim_interval) => {}
                }
            }
        }
    }

    async fn provision_loop(
        &self,
        stop: &CancellationToken,
        hand_back: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        loop {
            let claimed = match self.bootstraps.claim_due().await {
                Ok(claimed) => claimed,
                Err(failure) => {
                    warn!(error = chain(&failure), "no bootstraps could be claimed");
                    Vec::new()
                }
            };
            for bootstrap in claimed {
                let (bootstraps, hand_back) = (Arc::clone(&self.bootstraps), hand_back.clone());
                tasks.spawn(async move { bootstraps.work(bootstrap, &hand_back).await });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bootstraps.paid() => {}
                () = tokio::time::sleep(PROVISION_INTERVAL) => {}
            }
        }
    }

    async fn kept_loop(&self, stop: &CancellationToken, hand_back: &CancellationToken, tasks: &TaskTracker) {
        let interval = if self.settings().hold_requests { KEPT_INTERVAL } else { KEPT_INTERVAL_WITHOUT };
        loop {
            let claimed = match self.sessions.claim_kept().await {
                Ok(claimed) => claimed,
                Err(failure) => {
                    warn!(error = chain(&failure), "no kept requests could be claimed");
                    Vec::new()
                }
            };
            for kept in claimed {
                let (sessions, hand_back) = (Arc::clone(&self.sessions), hand_back.clone());
                tasks.spawn(async move { sessions.work_kept(kept, &hand_back).await });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sessions.kept_due() => {}
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    async fn payout_loop(
        &self,
        stop: &CancellationToken,
        hand_back: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        loop {
            let due = match self.payouts.tasks_due().await {
                Ok(due) => due,
                Err(failure) => {
                    warn!(error = chain(&failure), "what is owed could not be read");
                    Vec::new()
                }
            };
            for task in due {
                let (payouts, hand_back) = (Arc::clone(&self.payouts), hand_back.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = hand_back.cancelled() => {}
                        () = payouts.work(task) => {}
                    }
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.payouts.woken() => {}
                () = tokio::time::sleep(self.settings().payout_interval) => {}
            }
        }
    }

    async fn listen_loop(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.payments.listen() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
            }
        }
    }

    async fn listen_held_loop(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.payments.listen_held() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
            }
        }
    }

    async fn peer_loop(&self, stop: &CancellationToken) {
        let mut events = self.ports().store.peer_events();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => match event {
                    Some(event) => {
                        if matches!(event, PeerEvent::HandedBack | PeerEvent::Resync) {
                            self.bootstraps.wake();
                        }
                        self.jobs.peer_event(event);
                    }
                    None => return,
                }
            }
        }
    }

    async fn probe_loop(&self, stop: &CancellationToken) {
        if !self.backend.is_enabled() {
            return;
        }
        let mut rest = PROBE_RESTS.0;
        loop {
            let works = tokio::select! {
                () = stop.cancelled() => return,
                works = self.probe_backend() => works,
            };
            let next =
                async { if works { self.backend.suspected().await } else { tokio::time::sleep(rest).await } };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next => {}
            }
            rest = if works { PROBE_RESTS.0 } else { (rest * 2).min(PROBE_RESTS.1) };
        }
    }

    /// Repeats something until it is to stop.
    async fn rounds(&self, round: Round, stop: &CancellationToken) {
        let settings = self.settings();
        let every = match round {
            Round::Poll => settings.poll_interval,
            Round::PollLate => settings.late_poll_interval(),
            Round::Sweep => settings.sweep_interval,
            Round::Warn => WARN_INTERVAL,
            Round::Reconcile => settings.reconcile_interval,
            Round::Measure => settings.measure_interval,
            Round::Audit => settings.audit_interval,
            Round::Compare => servers::INTERVAL,
        };
        if every.is_zero() {
            return;
        }
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.measured_round(round) => {
                    if let Err(failure) = done {
                        warn!(round = ?round, error = chain(&failure), "round not finished; the rest is left for the next one");
                    }
                }
            }
        }
    }

    async fn measured_round(&self, round: Round) -> Result<(), EngineError> {
        let began = Instant::now();
        let done = self.round(round).await;
        histogram!(telemetry::ROUND_SECONDS, "round" => round.name()).record(began.elapsed());
        if done.is_err() {
            counter!(telemetry::ROUNDS_FAILED, "round" => round.name()).increment(1);
        }
        done
    }

    async fn round(&self, round: Round) -> Result<(), EngineError> {
        match round {
            Round::Poll => self.payments.poll().await,
            Round::PollLate => self.payments.poll_late().await,
            Round::Sweep => self.sweep().await,
            Round::Warn => self.sessions.warn_owners().await,
            Round::Reconcile => self.reconciliation.check().await.map(drop),
            Round::Measure => self.measuring.measure().await,
            Round::Audit => self.audit_by_itself().await,
            Round::Compare => self.servers.keep().await,
        }
    }
}

impl Running {
    /// Stops claiming jobs, waits up to `patience` for the running ones, and hands the rest back, so that another server (or
    /// this one, started again) can claim them at once.
    pub async fn stop(self, patience: Duration) {
        self.stop.cancel();
        self.engine.jobs.feed().wake_worker();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            info!("handing unfinished work back");
            self.hand_back.cancel();
            self.tasks.wait().await;
        }
        self.engine.servers.leave().await;
    }
}
