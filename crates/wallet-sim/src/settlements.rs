//! Settlement events: those of this process at once, those of other processes by looking at the journal.

use crate::Faults;
use crate::wallet::Shared;
use futures_util::StreamExt;
use futures_util::stream;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tithe_lightning::{Settlement, SettlementStream};
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How often the journal is looked at for what other processes have appended, while anybody listens.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// How many settlements a listener can be behind before its stream ends.
const LAG_MAX: usize = 1_024;

/// Tells settlements to whoever listens.
#[derive(Clone)]
pub(crate) struct Announcer {
    sender: Sender<Settlement>,
    faults: Arc<Faults>,
}

impl Announcer {
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { sender: Sender::new(LAG_MAX), faults }
    }

    pub fn announce(&self, settlement: Settlement) {
        if !self.faults.settlements_are_silent() {
            // Nobody listening is no error.
            let _listeners = self.sender.send(settlement);
        }
    }
}

/// The task that looks at the journal. It runs only while there are listeners.
pub(crate) struct Poller {
    announcer: Announcer,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Poller {
    pub fn new(announcer: Announcer) -> Self {
        Self { announcer, task: Mutex::new(None) }
    }

    /// A stream of what is announced from now on. It ends when its reader has fallen too far behind, and when the
    /// wallet is gone.
    pub fn listen(&self, shared: &Arc<Shared>) -> SettlementStream {
        let mut task = self.task();
        let receiver = self.announcer.sender.subscribe();
        // A task can also have ended with the runtime that it was started in.
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(poll(Arc::downgrade(shared))));
        }
        stream_of(receiver)
    }

    /// Whether nobody listens any more. The task that is told so must end: the next listener starts another.
    fn retire(&self) -> bool {
        let mut task = self.task();
        let idle = self.announcer.sender.receiver_count() == 0;
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

fn stream_of(receiver: Receiver<Settlement>) -> SettlementStream {
    stream::unfold(receiver, |mut receiver| async {
        match receiver.recv().await {
            Ok(settlement) => Some((settlement, receiver)),
            Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => None,
        }
    })
    .boxed()
}

async fn poll(wallet: Weak<Shared>) {
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        // Held for one look only: listeners don't keep the wallet alive.
        let Some(shared) = wallet.upgrade() else { return };
        if shared.poller.retire() {
            return;
        }
        let looked = shared.read(|_| ()).await;
        if let Err(error) = &looked
            && !failing
        {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "the wallet's journal cannot be read");
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

    fn settlement(n: u8) -> Settlement {
        Settlement {
            payment_hash: PaymentHash::from_bytes([n; 32]),
            amount: Msats::ZERO,
            preimage: None,
            settled_at: Timestamp::UNIX_EPOCH,
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
        let first = wallet.settlements().await.unwrap();
        let second = wallet.settlements().await.unwrap();
        drop(first);
        assert!(poller.is_running());
        drop(second);
        while poller.is_running() {
            tokio::task::yield_now().await;
            tokio::time::advance(POLL_EVERY).await;
        }
        let _third = wallet.settlements().await.unwrap();
        assert!(poller.is_running());
    }
}
