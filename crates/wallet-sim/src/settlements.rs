//! Received and held payments: those of this process immediately, those of other processes by polling the journal.

use crate::Faults;
use crate::SimError;
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tithe_lightning::{HeldPayment, HeldPayments, ReceivedPayment, ReceivedPayments};
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How often the journal is polled for records of other processes, while there are listeners.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The number of payments that a listener may fall behind before its stream ends.
const LAG_MAX: usize = 1_024;

/// Announces received and held payments to listeners.
#[derive(Clone)]
pub(crate) struct Announcer {
    sender: Sender<ReceivedPayment>,
    held: Sender<HeldPayment>,
    faults: Arc<Faults>,
}

impl Announcer {
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { sender: Sender::new(LAG_MAX), held: Sender::new(LAG_MAX), faults }
    }

    pub fn announce(&self, settlement: ReceivedPayment) {
        if !self.faults.settlements_are_silent() {
            // Having no listeners is not an error.
            let _listeners = self.sender.send(settlement);
        }
    }

    pub fn announce_held(&self, held: HeldPayment) {
        if !self.faults.settlements_are_silent() {
            let _listeners = self.held.send(held);
        }
    }

    fn listeners(&self) -> usize {
        self.sender.receiver_count().saturating_add(self.held.receiver_count())
    }
}

/// A journal that other processes may have appended to.
#[async_trait]
pub(crate) trait SharedJournal: Send + Sync + 'static {
    /// The poller of this journal.
    fn poller(&self) -> &Poller;

    /// Reads new records and announces them.
    async fn catch_up(self: Arc<Self>) -> Result<(), SimError>;
}

/// The task that polls the journal. It runs only while there are listeners.
pub(crate) struct Poller {
    announcer: Announcer,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Poller {
    pub fn new(announcer: Announcer) -> Self {
        Self { announcer, task: Mutex::new(None) }
    }

    /// A stream of the payments announced from now on. It ends when its reader falls too far behind, and when the
    /// wallet is dropped.
    pub fn listen<J: SharedJournal>(&self, shared: &Arc<J>) -> ReceivedPayments {
        self.listen_to(&self.announcer.sender, shared)
    }

    /// As [`Poller::listen`], for held payments.
    pub fn listen_held<J: SharedJournal>(&self, shared: &Arc<J>) -> HeldPayments {
        self.listen_to(&self.announcer.held, shared)
    }

    fn listen_to<T: Clone + Send + 'static, J: SharedJournal>(
        &self,
        sender: &Sender<T>,
        shared: &Arc<J>,
    ) -> BoxStream<'static, T> {
        let mut task = self.task();
        let receiver = sender.subscribe();
        // The task may also have ended with the runtime that it was spawned on.
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(poll(Arc::downgrade(shared))));
        }
        stream_of(receiver)
    }

    /// Returns true if there are no listeners. The polling task must then end: the next listener starts a new one.
    fn retire(&self) -> bool {
        let mut task = self.task();
        let idle = self.announcer.listeners() == 0;
        if idle {
            *task = None;
        }
        idle
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn is_running(&self) -> bool {
        self.task().as_ref().is_some_and(|task| !task.is_finished())
    }
}

fn stream_of<T: Clone + Send + 'static>(receiver: Receiver<T>) -> BoxStream<'static, T> {
    stream::unfold(receiver, |mut receiver| async {
        match receiver.recv().await {
            Ok(payment) => Some((payment, receiver)),
            Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => None,
        }
    })
    .boxed()
}

async fn poll<J: SharedJournal>(journal: Weak<J>) {
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        // Held for one poll only, so that listeners do not keep the wallet alive.
        let Some(shared) = journal.upgrade() else { return };
        if shared.poller().retire() {
            return;
        }
        let looked = shared.catch_up().await;
        if let Err(error) = &looked
            && !failing
        {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "cannot read the wallet's journal");
        }
        failing = looked.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimWallet;
    use std::sync::Arc;
    use tithe_clock::{SeededEntropy, SystemClock, Timestamp};
    use tithe_lightning::{PaymentHash, Wallet};
    use tithe_money::Msats;

    fn settlement(n: u8) -> ReceivedPayment {
        ReceivedPayment {
            payment_hash: PaymentHash::from_bytes([n; 32]),
            amount: Msats::ZERO,
            liquidity_fee: Msats::ZERO,
            preimage: None,
            received_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_by_the_end_of_its_stream() {
        let announcer = Announcer::new(Arc::default());
        let stream = stream_of(announcer.sender.subscribe());
        for _ in 0..=LAG_MAX {
            announcer.announce(settlement(1));
        }
        assert_eq!(stream.count().await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_looks_at_the_journal_when_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let entropy = Arc::new(SeededEntropy::new(1));
        let wallet = SimWallet::open(folder.path(), Arc::new(SystemClock), entropy).await.unwrap();
        let poller = &wallet.shared().poller;
        assert!(!poller.is_running());
        let first = wallet.payments_received().await.unwrap();
        let second = wallet.payments_received().await.unwrap();
        drop(first);
        assert!(poller.is_running());
        drop(second);
        while poller.is_running() {
            tokio::task::yield_now().await;
            tokio::time::advance(POLL_EVERY).await;
        }
        let _third = wallet.payments_received().await.unwrap();
        assert!(poller.is_running());
    }
}
