//! What phoenixd knows besides its node: what its provider keeps, and the ids that callers gave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tithe_lightning::PaymentHash;
use tithe_money::Msats;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::{IncomingPayment, LightningNode, PaymentEvent};

/// How many received payments a slow websocket may be behind before it misses some.
const NEWS: usize = 1_024;

/// What becomes of a received payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// All of it is balance.
    #[default]
    Nothing,
    /// The provider has opened or enlarged a channel for it, and keeps this fee: the rest is balance.
    LiquidityFee(Msats),
    /// It is too small to open a channel for: all of it is fee credit, which pays for liquidity later.
    FeeCredit,
}

/// A received payment as phoenixd sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What the API calls received.
    pub received: Msats,
    /// The liquidity fee.
    pub fee: Msats,
    /// The part of what was received that is fee credit, and not balance.
    pub fee_credit: Msats,
}

/// phoenixd's wallet.
pub struct Wallet {
    pub node: LightningNode,
    notes: Mutex<Notes>,
    news: broadcast::Sender<PaymentHash>,
    notifies: watch::Sender<bool>,
    /// Changes when all websockets are to be cut.
    cuts: watch::Sender<()>,
}

#[derive(Default)]
struct Notes {
    keep: Keep,
    /// Decided when a payment is first seen as received.
    kept: HashMap<PaymentHash, Keep>,
    external_ids: HashMap<PaymentHash, String>,
}

impl Wallet {
    pub fn over(node: LightningNode) -> Self {
        Self {
            node,
            notes: Mutex::default(),
            news: broadcast::Sender::new(NEWS),
            notifies: watch::Sender::new(true),
            cuts: watch::Sender::new(()),
        }
    }

    pub fn keep(&self, keep: Keep) {
        // What has been received before is not touched.
        for payment in self.node.incoming_all() {
            self.credit(&payment);
        }
        self.notes().keep = keep;
    }

    pub fn notify(&self, notify: bool) {
        self.notifies.send_replace(notify);
    }

    pub fn notifies(&self) -> bool {
        *self.notifies.borrow()
    }

    /// Cuts all websockets.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Changes when the websockets of now are to be cut.
    pub fn cuts(&self) -> watch::Receiver<()> {
        self.cuts.subscribe()
    }

    /// The hashes of received payments from now on.
    pub fn news(&self) -> broadcast::Receiver<PaymentHash> {
        self.news.subscribe()
    }

    /// What a payment was worth; `None` while it is not received.
    pub fn credit(&self, payment: &IncomingPayment) -> Option<Receipt> {
        let amount = payment.received?.amount;
        let mut notes = self.notes();
        let keep = notes.keep;
        let keep = *notes.kept.entry(payment.hash()).or_insert(keep);
        Some(match keep {
            Keep::Nothing => Receipt { received: amount, fee: Msats::ZERO, fee_credit: Msats::ZERO },
            Keep::LiquidityFee(fee) => {
                let fee = fee.min(amount);
                Receipt { received: amount.saturating_sub(fee), fee, fee_credit: Msats::ZERO }
            }
            Keep::FeeCredit => Receipt { received: amount, fee: Msats::ZERO, fee_credit: amount },
        })
    }

    /// The node's balance less what was kept.
    pub fn balance(&self) -> Msats {
        let balance = self.node.balance();
        self.credits()
            .fold(balance, |rest, credit| rest.saturating_sub(credit.fee).saturating_sub(credit.fee_credit))
    }

    /// All fee credit.
    pub fn fee_credit(&self) -> Msats {
        let sum = |sum: Msats, credit: Receipt| sum.checked_add(credit.fee_credit).unwrap_or(Msats::MAX);
        self.credits().fold(Msats::ZERO, sum)
    }

    pub fn external_id_set(&self, hash: PaymentHash, id: &str) {
        self.notes().external_ids.insert(hash, id.to_owned());
    }

    pub fn external_id(&self, hash: PaymentHash) -> Option<String> {
        self.notes().external_ids.get(&hash).cloned()
    }

    fn credits(&self) -> impl Iterator<Item = Receipt> {
        self.node.incoming_all().into_iter().filter_map(|payment| self.credit(&payment))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides what becomes of each payment as soon as it is received, and then announces it to the websockets.
pub async fn follow(wallet: Arc<Wallet>) {
    let mut events = wallet.node.events();
    loop {
        match events.recv().await {
            Ok(PaymentEvent::Received(hash)) => {
                if let Some(payment) = wallet.node.incoming(hash) {
                    wallet.credit(&payment);
                }
                let _ = wallet.news.send(hash);
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
