//! The engine's background tasks: workers, the wallet's listener, polling, sweeping.

use crate::Engine;
use crate::store::Elsewhere;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long the listener waits before it listens again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many times as seldom those invoices are looked up that lapsed.
const LATE_POLL_EVERY: u32 = 12;

/// The engine at work. Dropping it leaves the tasks running; [`Running::stop`] ends them.
pub struct Running {
    engine: Arc<Engine>,
    stop: CancellationToken,
    give_up: CancellationToken,
    tasks: TaskTracker,
}

impl Engine {
    /// Starts the background tasks on the current runtime. What was left by a crash is taken up by the first rounds of
    /// each: unpaid invoices are polled at once, jobs are claimed as their leases run out.
    #[must_use]
    pub fn start(self: &Arc<Self>) -> Running {
        let (stop, give_up, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let spawn = |task: Task| {
            let (engine, stop, give_up) = (Arc::clone(self), stop.clone(), give_up.clone());
            let workers = tasks.clone();
            tasks.spawn(async move {
                match task {
                    Task::Work => engine.work_loop(&stop, &give_up, &workers).await,
                    Task::Listen => engine.listen_loop(&stop).await,
                    Task::Elsewhere => engine.elsewhere_loop(&stop).await,
                    Task::Rounds(round) => engine.rounds(round, &stop).await,
                }
            });
        };
        let rounds = [Round::Poll, Round::PollLate, Round::Sweep].map(Task::Rounds);
        [Task::Work, Task::Listen, Task::Elsewhere].into_iter().chain(rounds).for_each(spawn);
        Running { engine: Arc::clone(self), stop, give_up, tasks }
    }

    async fn work_loop(
        self: Arc<Self>,
        stop: &CancellationToken,
        give_up: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let free = Arc::new(Semaphore::new(self.settings.workers));
        loop {
            let Ok(first) = Arc::clone(&free).acquire_owned().await else { return };
            if stop.is_cancelled() {
                return;
            }
            let room = free.available_permits() + 1;
            let claimed = match self.jobs_claim(room).await {
                Ok(jobs) => jobs,
                Err(failure) => {
                    warn!(%failure, "no jobs could be claimed");
                    Vec::new()
                }
            };
            let idle = claimed.len() < room;
            drop(first);
            for job in claimed {
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
                let (engine, give_up) = (Arc::clone(&self), give_up.clone());
                tasks.spawn(async move {
                    engine.job_work(job, &give_up).await;
                    drop(permit);
                });
            }
            if idle {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.feed.runnable() => {}
                    () = tokio::time::sleep(self.settings.claim_interval) => {}
                }
            }
        }
    }

    async fn listen_loop(self: Arc<Self>, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.payments_listen() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LISTEN_AGAIN_AFTER) => {}
            }
        }
    }

    /// Wakes who waits here for what other servers do.
    async fn elsewhere_loop(self: Arc<Self>, stop: &CancellationToken) {
        let mut elsewhere = self.ports.store.elsewhere();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                news = elsewhere.next() => match news {
                    Some(Elsewhere::Steps(steps)) => self.feed.publish(&steps),
                    Some(Elsewhere::Missed) => self.feed.missed(),
                    Some(Elsewhere::TextWanted { job, from }) => self.text_wanted(job, from),
                    Some(Elsewhere::Text(part)) => self.feed.hear_text(&part),
                    None => return,
                }
            }
        }
    }

    /// Does the same again and again, until it is to stop.
    async fn rounds(self: Arc<Self>, round: Round, stop: &CancellationToken) {
        let mut tick = interval(match round {
            Round::Poll => self.settings.poll_interval,
            Round::PollLate => self.settings.poll_interval * LATE_POLL_EVERY,
            Round::Sweep => self.settings.sweep_interval,
        });
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let done = async {
                match round {
                    Round::Poll => self.payments_poll(false).await,
                    Round::PollLate => self.payments_poll_late().await,
                    Round::Sweep => self.sweep().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                done = done => {
                    if let Err(failure) = done {
                        warn!(?round, %failure, "a round is left for the next time");
                    }
                }
            }
        }
    }
}

/// What is done in rounds.
#[derive(Debug, Clone, Copy)]
enum Round {
    /// Unpaid invoices are looked up.
    Poll,
    /// Lapsed ones too: in rounds of their own, because there may be many, and new payments must not wait for them.
    PollLate,
    /// What has lapsed is cleared away.
    Sweep,
}

enum Task {
    Work,
    Listen,
    Elsewhere,
    Rounds(Round),
}

impl Running {
    /// Stops taking on work, waits up to `patience` for what runs, and hands the rest back for another server (or this one,
    /// started again) to take up at once.
    pub async fn stop(self, patience: Duration) {
        self.stop.cancel();
        self.engine.feed.wake_worker();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            info!("handing unfinished work back");
            self.give_up.cancel();
            self.tasks.wait().await;
        }
    }
}
