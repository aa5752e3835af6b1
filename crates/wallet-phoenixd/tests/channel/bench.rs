//! A wallet at a phoenixd API over a real node.

use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, ManualClock, SystemClock};
use tithe_lightning::{Bolt11, InvoiceId, InvoiceRequest, Network, Payment, PaymentId, PaymentOrder, Wallet};
use tithe_money::{Msats, Sats};
use tithe_test_lightning::{LightningNode, PayTerms, PhoenixdApi};
use tithe_wallet_phoenixd::{PhoenixdSettings, PhoenixdWallet, SendFee};
use uuid::Uuid;

/// Generous: a machine that builds at the same time is slow.
const TIME_LIMIT: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

pub(crate) struct Bench {
    pub api: PhoenixdApi,
    pub clock: Arc<ManualClock>,
    pub wallet: PhoenixdWallet,
}

impl Bench {
    pub async fn over(node: &LightningNode) -> Self {
        Self::with_timeout(node, TIME_LIMIT).await
    }

    pub async fn with_timeout(node: &LightningNode, timeout: Duration) -> Self {
        let api = PhoenixdApi::start(node).await.unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let wallet = PhoenixdWallet::new(&settings(&api, timeout), clock.clone()).unwrap();
        Self { api, clock, wallet }
    }

    /// Another server of ours at the same phoenixd.
    pub fn another(&self) -> PhoenixdWallet {
        PhoenixdWallet::new(&settings(&self.api, TIME_LIMIT), self.clock.clone()).unwrap()
    }

    /// An invoice of the wallet.
    pub async fn invoice(&self, number: u128, sats: u64) -> Bolt11 {
        self.wallet.invoice_create(&request(number, sats)).await.unwrap()
    }

    /// Waits until the payment has ended.
    pub async fn ended(&self, order: &PaymentOrder) -> Option<Payment> {
        let hash = order.request.payment_hash();
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let ended = async {
            loop {
                let status = self.wallet.payment_status(order.id, hash).await.unwrap();
                if status != Some(Payment::InFlight) {
                    return status;
                }
                ticks.tick().await;
            }
        };
        tokio::time::timeout(TIME_LIMIT, ended).await.unwrap()
    }
}

pub(crate) fn settings(api: &PhoenixdApi, timeout: Duration) -> PhoenixdSettings {
    PhoenixdSettings {
        url: api.url().parse().unwrap(),
        password: api.password().parse().unwrap(),
        network: Network::Regtest,
        timeout,
        send_fee: SendFee::default(),
    }
}

pub(crate) fn request(number: u128, sats: u64) -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(Uuid::from_u128(number)),
        amount: Sats::new(sats).unwrap(),
        description: "a job".to_owned(),
        expiry: HOUR,
    }
}

/// An order to pay an invoice of the node, with just enough for the fee.
pub(crate) fn order(node: &LightningNode, amount: u64) -> PaymentOrder {
    PaymentOrder {
        id: PaymentId(Uuid::from_u128(amount.into())),
        request: node.create_invoice(Some(msats(amount)), "a refund", HOUR).unwrap(),
        amount: None,
        max_fee: SendFee::default().most(msats(amount)).unwrap(),
    }
}

/// The node pays the invoice, and its side has settled.
pub(crate) async fn pay(node: &LightningNode, invoice: &Bolt11) {
    let payment = node.pay(invoice, PayTerms::default()).await.unwrap();
    assert!(payment.succeeded().is_some(), "{payment:?}");
}

/// What the node received for the order.
pub(crate) fn received(node: &LightningNode, order: &PaymentOrder) -> Option<Msats> {
    let invoice = node.incoming(order.request.payment_hash()).unwrap();
    invoice.received.map(|received| received.amount)
}

pub(crate) fn msats(amount: u64) -> Msats {
    Msats::new(amount).unwrap()
}

pub(crate) fn sum(first: Msats, second: Msats) -> Msats {
    first.checked_add(second).unwrap()
}

pub(crate) fn difference(more: Msats, less: Msats) -> Msats {
    more.checked_sub(less).unwrap()
}
