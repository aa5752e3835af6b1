//! Paying with a Lightning wallet.

use super::api::Api;
use super::bill::Bill;
use super::payer::{Paid, PayError, Payer};
use async_trait::async_trait;
use std::cell::OnceCell;
use std::time::{Duration, Instant};
use tithe_clock::SystemEntropy;
use tithe_lightning::{
    Bolt11, InvoiceId, InvoiceRequest, InvoiceStatus, Network, OwnerId, Payment, PaymentHash, PaymentId,
    PaymentOrder, Preimage, Purpose, Wallet, WalletError,
};
use tithe_money::{Msats, Sats};

/// How long an invoice for a refund can be paid: also when a session that a failed check leaves has ended by itself.
const INVOICE_EXPIRY: Duration = Duration::from_hours(24);

/// The pause between two questions about a payment in flight.
const PAUSE: Duration = Duration::from_millis(500);

/// The routing fee that is allowed for small amounts, in msats.
const FEE_FLOOR_MSATS: u64 = 10_000;

/// The part of the amount that is allowed as the routing fee for large amounts: one hundredth.
const FEE_DIVISOR: u64 = 100;

/// Opens the wallet for a network.
type Open = Box<dyn Fn(Network) -> Box<dyn Wallet>>;

/// Pays with a wallet, and is refunded to it. It is opened for the network of the first invoice.
pub(super) struct WalletPayer {
    name: &'static str,
    open: Open,
    opened: OnceCell<Box<dyn Wallet>>,
    /// How long a payment in flight is waited for.
    patience: Duration,
}

impl WalletPayer {
    pub(super) fn new(name: &'static str, open: Open, patience: Duration) -> Self {
        Self { name, open, opened: OnceCell::new(), patience }
    }

    fn opened(&self) -> Result<&dyn Wallet, String> {
        let opened = self.opened.get().map(|wallet| &**wallet);
        opened.ok_or_else(|| "the wallet was not opened, because nothing was paid".to_owned())
    }

    /// Asks for a payment that may be in flight until it has ended, or patience has.
    async fn follow(&self, wallet: &dyn Wallet, id: PaymentId, bill: &Bill) -> Result<Paid, PayError> {
        let began = Instant::now();
        loop {
            let last = match wallet.payment_status(id, bill.hash).await {
                Ok(Some(Payment::Succeeded { preimage, fee })) => return paid(bill, preimage, fee),
                Ok(Some(Payment::Failed { reason })) => return Err(PayError::Failed(reason)),
                Ok(Some(Payment::InFlight)) => "the payment is in flight".to_owned(),
                Ok(None) => "the wallet does not know the payment".to_owned(),
                Err(failure) => failure.to_string(),
            };
            if began.elapsed() >= self.patience {
                return Err(PayError::Unknown(last));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A payment that the wallet calls successful, with a proof that is one.
fn paid(bill: &Bill, preimage: Preimage, fee: Msats) -> Result<Paid, PayError> {
    if preimage.payment_hash() == bill.hash {
        return Ok(Paid { preimage, fee });
    }
    Err(PayError::Unknown("the wallet's preimage does not hash to the payment hash".to_owned()))
}

#[async_trait(?Send)]
impl Payer for WalletPayer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn max_fee(&self, amount: Sats) -> Msats {
        let share = amount.to_msats().get().div_ceil(FEE_DIVISOR);
        Msats::new(share.max(FEE_FLOOR_MSATS)).unwrap_or(Msats::MAX)
    }

    async fn pay(&self, _api: &Api, bill: &Bill) -> Result<Paid, PayError> {
        let network = bill.bolt11.network();
        let wallet = &**self.opened.get_or_init(|| (self.open)(network));
        if wallet.network() != network {
            let reason = format!("the invoice is on {network}, and the wallet is on {}", wallet.network());
            return Err(PayError::CannotPay(reason));
        }
        let id = PaymentId::random(&SystemEntropy);
        let max_fee = self.max_fee(bill.amount);
        let order = PaymentOrder { id, request: bill.bolt11.clone(), amount: None, max_fee };
        match wallet.payment_send(&order).await {
            Ok(Payment::Succeeded { preimage, fee }) => paid(bill, preimage, fee),
            Ok(Payment::Failed { reason }) => Err(PayError::Failed(reason)),
            Err(WalletError::Refused(reason)) => Err(PayError::Failed(reason)),
            Err(failure @ WalletError::Unavailable(_)) => Err(PayError::Failed(failure.to_string())),
            // Whether it was paid has to be looked up.
            Ok(Payment::InFlight) | Err(_) => self.follow(wallet, id, bill).await,
        }
    }

    async fn invoice(&self, _api: &Api, amount: Sats) -> Result<Option<Bolt11>, String> {
        let request = InvoiceRequest {
            id: InvoiceId::of(Purpose::JobWork, OwnerId::random(&SystemEntropy), 0),
            amount,
            description: "Refund of a Tithe self-test".to_owned(),
            expiry: INVOICE_EXPIRY,
        };
        self.opened()?.invoice_create(&request).await.map(Some).map_err(|failure| failure.to_string())
    }

    async fn has_received(&self, hash: PaymentHash) -> Result<Option<bool>, String> {
        let status = self.opened()?.invoice_status(hash).await.map_err(|failure| failure.to_string())?;
        Ok(Some(matches!(status, Some(InvoiceStatus::Settled(_)))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::*;
    use crate::client::Client;
    use reqwest::header::HeaderMap;
    use serde_json::json;
    use std::cell::Cell;
    use std::sync::Arc;
    use tempfile::TempDir;
    use tithe_clock::{SystemClock, SystemEntropy};
    use tithe_lightning::TestPayer;
    use tithe_wallet_sim::{Fault, Operation, SimWallet};

    /// A wallet, and another instance of the same that shares its folder.
    struct Wallets {
        _folder: TempDir,
        ours: SimWallet,
        payer: WalletPayer,
        api: Api,
    }

    async fn open(folder: &TempDir) -> SimWallet {
        SimWallet::open(folder.path(), Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap()
    }

    async fn wallets(faults: &[(Operation, Fault)]) -> Wallets {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (open(&folder).await, open(&folder).await);
        for (operation, fault) in faults {
            theirs.faults().queue(*operation, *fault);
        }
        let once: Cell<Option<Box<dyn Wallet>>> = Cell::new(Some(Box::new(theirs)));
        let payer = WalletPayer::new("sim", Box::new(move |_| once.take().unwrap()), Duration::from_secs(1));
        let api = Api::new(Client::new("http://127.0.0.1:1").unwrap(), Duration::from_secs(1));
        Wallets { _folder: folder, ours, payer, api }
    }

    async fn bill(wallet: &SimWallet, sats: u64) -> Bill {
        let request = InvoiceRequest {
            id: InvoiceId::of(Purpose::JobWork, OwnerId::random(&SystemEntropy), 0),
            amount: Sats::new(sats).unwrap(),
            description: "a test".to_owned(),
            expiry: INVOICE_EXPIRY,
        };
        let bolt11 = wallet.invoice_create(&request).await.unwrap();
        let body = json!({
            "paymentRequest": bolt11.as_str(),
            "paymentHash": bolt11.payment_hash().to_string(),
            "amountSats": sats,
            "expiresAt": bolt11.expires_at().to_string(),
        });
        let body = json!({ "invoice": body }).to_string();
        Bill::read(&Answer::new("GET /x".to_owned(), 200, HeaderMap::new(), body), "/invoice").unwrap()
    }

    async fn fund(wallet: &SimWallet, sats: u64) {
        wallet.pay(&bill(wallet, sats).await.bolt11).await.unwrap();
    }

    #[tokio::test]
    async fn an_invoice_is_paid_with_proof_and_fee() {
        let Wallets { ours, payer, api, .. } = wallets(&[]).await;
        fund(&ours, 1_000).await;
        let bill = bill(&ours, 100).await;
        let paid = payer.pay(&api, &bill).await.unwrap();
        assert_eq!(paid.preimage.payment_hash(), bill.hash);
        assert!(paid.fee <= payer.max_fee(bill.amount));
    }

    #[tokio::test]
    async fn a_wallet_without_money_has_paid_nothing() {
        let Wallets { ours, payer, api, .. } = wallets(&[]).await;
        let bill = bill(&ours, 100).await;
        let refused = payer.pay(&api, &bill).await.unwrap_err();
        assert!(matches!(refused, PayError::Failed(_)), "{refused:?}");
    }

    #[tokio::test]
    async fn a_lost_answer_is_looked_up_and_not_paid_again() {
        let lost = (Operation::PaymentSend, Fault::LoseAnswer);
        let Wallets { ours, payer, api, .. } = wallets(&[lost]).await;
        fund(&ours, 1_000).await;
        let bill = bill(&ours, 100).await;
        let paid = payer.pay(&api, &bill).await.unwrap();
        assert_eq!(paid.preimage.payment_hash(), bill.hash);
    }

    #[tokio::test]
    async fn a_preimage_that_proves_nothing_is_not_taken_for_a_payment() {
        let Wallets { ours, .. } = wallets(&[]).await;
        let bill = bill(&ours, 100).await;
        let unproven = paid(&bill, Preimage::from_bytes([7; 32]), Msats::ZERO).unwrap_err();
        assert!(matches!(unproven, PayError::Unknown(_)), "{unproven:?}");
    }

    #[tokio::test]
    async fn a_refund_is_received_once_it_was_paid() {
        let Wallets { ours, payer, api, .. } = wallets(&[]).await;
        assert!(payer.invoice(&api, Sats::new(5).unwrap()).await.is_err(), "it is not open yet");
        fund(&ours, 1_000).await;
        payer.pay(&api, &bill(&ours, 100).await).await.unwrap();
        let invoice = payer.invoice(&api, Sats::new(5).unwrap()).await.unwrap().unwrap();
        assert_eq!(payer.has_received(invoice.payment_hash()).await, Ok(Some(false)));
        ours.pay(&invoice).await.unwrap();
        assert_eq!(payer.has_received(invoice.payment_hash()).await, Ok(Some(true)));
    }

    #[test]
    fn the_routing_fee_is_at_most_a_hundredth_or_ten_sats() {
        let payer = WalletPayer::new("sim", Box::new(|_| unreachable!()), Duration::ZERO);
        for (sats, msats) in [(1, 10_000), (1_000, 10_000), (1_001, 10_010), (5_000, 50_000)] {
            assert_eq!(payer.max_fee(Sats::new(sats).unwrap()).get(), msats, "{sats}");
        }
    }
}
