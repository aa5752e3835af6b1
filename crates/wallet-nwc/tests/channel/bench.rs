//! Two nodes, a relay, and the merchant's wallet by NIP-47.

use std::sync::Arc;
use std::time::Duration;
use tithe_clock::SystemClock;
use tithe_lightning::{
    Bolt11, InvoiceId, InvoiceRequest, Network, Payment, PaymentId, PaymentOrder, Wallet, WalletError, uuid,
};
use tithe_money::{Msats, Sats};
use tithe_test_lightning::{LightningNode, LightningPair, NostrRelay, NwcOptions, NwcService};
use tithe_wallet_nwc::{FeeLimit, NwcSettings, NwcWallet};

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Bench {
    pub pair: LightningPair,
    pub relays: Vec<NostrRelay>,
    pub service: NwcService,
    pub wallet: NwcWallet,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(1, NwcOptions::default(), Duration::from_secs(30)).await
    }

    /// The wallet waits this long for a response.
    pub async fn patient_for(timeout: Duration) -> Self {
        Self::with(1, NwcOptions::default(), timeout).await
    }

    pub async fn with(relays: usize, options: NwcOptions, timeout: Duration) -> Self {
        let pair = LightningPair::start().await.unwrap();
        let mut running = Vec::new();
        for _ in 0..relays {
            running.push(NostrRelay::start().await.unwrap());
        }
        let urls: Vec<_> = running.iter().map(NostrRelay::url).collect();
        let service = NwcService::start_with(pair.merchant(), &urls, options).await.unwrap();
        let wallet = wallet_of(&service, timeout);
        Self { pair, relays: running, service, wallet }
    }

    pub fn relay(&self) -> &NostrRelay {
        self.relays.first().unwrap()
    }

    pub fn merchant(&self) -> &LightningNode {
        self.pair.merchant()
    }

    pub fn customer(&self) -> &LightningNode {
        self.pair.customer()
    }

    /// An order to pay an invoice of the customer.
    pub fn order(&self, amount: u64) -> PaymentOrder {
        order(self.customer(), amount)
    }

    /// The state of the payment, once it has ended.
    pub async fn ended(&self, order: &PaymentOrder) -> Payment {
        let ended = async {
            loop {
                match self.wallet.payment_status(order.id, order.request.payment_hash()).await {
                    Ok(Some(Payment::InFlight) | None) => tokio::task::yield_now().await,
                    Ok(Some(payment)) => return payment,
                    Err(error) => panic!("{error:?}"),
                }
            }
        };
        within(ended).await
    }
}

pub(crate) fn wallet_of(service: &NwcService, timeout: Duration) -> NwcWallet {
    let mut settings = NwcSettings::new(service.connection().parse().unwrap(), Network::Regtest);
    settings.fee_limit = FeeLimit::ALBY_HUB;
    settings.timeout = timeout;
    NwcWallet::new(settings, Arc::new(SystemClock))
}

pub(crate) fn order(payee: &LightningNode, amount: u64) -> PaymentOrder {
    let request = payee.create_invoice(Some(msats(amount)), "refund", Duration::from_hours(1)).unwrap();
    let max_fee = msats(10_000.max(amount.div_ceil(100)));
    PaymentOrder { id: PaymentId(uuid::Uuid::from_u128(u128::from(amount))), request, amount: None, max_fee }
}

pub(crate) async fn invoice(wallet: &NwcWallet, sats: u64) -> Bolt11 {
    let request = InvoiceRequest {
        id: InvoiceId(uuid::Uuid::from_u128(u128::from(sats))),
        amount: Sats::new(sats).unwrap(),
        description: "an eval".to_owned(),
        expiry: Duration::from_mins(10),
    };
    within(wallet.invoice_create(&request)).await.unwrap()
}

pub(crate) fn msats(amount: u64) -> Msats {
    Msats::new(amount).unwrap()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing happened in time"))
}

pub(crate) fn is_unknown(result: &Result<Payment, WalletError>) -> bool {
    matches!(result, Err(WalletError::OutcomeUnknown(_)))
}
