//! The wallet at a real LNbits.
//!
//! `TITHE_TEST_LNBITS_URL` is its URL, `TITHE_TEST_LNBITS_KEY` the admin key of a wallet with at least 1000 sats that nobody else uses
//! meanwhile. `TITHE_TEST_LNBITS_NETWORK` is the network of its node, regtest by default. The node must make valid invoices:
//! LNbits' own `FakeWallet` does not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, ManualClock, SystemClock, SystemEntropy, Timestamp};
use tithe_lightning::{
    Bolt11, Direction, InvoiceId, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId,
    PaymentOrder, Wallet, WalletError,
};
use tithe_money::{Msats, Sats};
use tithe_wallet_lnbits::{LnbitsSettings, LnbitsWallet};
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_mins(1);
const REASON: &str = "needs a real LNbits in TITHE_TEST_LNBITS_URL";

/// The tests share a wallet, and look at its balance.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{REASON}: {name} is missing"))
}

fn wallet_with(key: &str, clock: Arc<dyn Clock>) -> LnbitsWallet {
    let network =
        std::env::var("TITHE_TEST_LNBITS_NETWORK").map_or(Network::Regtest, |name| name.parse().unwrap());
    let url = env("TITHE_TEST_LNBITS_URL").parse().unwrap();
    LnbitsWallet::new(&LnbitsSettings::new(url, key.parse().unwrap(), network), clock).unwrap()
}

fn wallet() -> LnbitsWallet {
    wallet_with(&env("TITHE_TEST_LNBITS_KEY"), Arc::new(SystemClock))
}

fn random() -> Uuid {
    let entropy: &dyn Entropy = &SystemEntropy;
    Uuid::from_bytes(entropy.bytes())
}

fn request(sats: u64, expiry: Duration) -> InvoiceRequest {
    let amount = Sats::new(sats).unwrap();
    InvoiceRequest { id: InvoiceId(random()), amount, description: "a real test – ü".to_owned(), expiry }
}

fn order(request: Bolt11) -> PaymentOrder {
    PaymentOrder { id: PaymentId(random()), request, amount: None, max_fee: Msats::new(10_000).unwrap() }
}

fn unknown_hash() -> PaymentHash {
    let entropy: &dyn Entropy = &SystemEntropy;
    PaymentHash::from_bytes(entropy.bytes())
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn a_payment_from_the_wallet_to_itself_is_seen_from_both_sides() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let wallet = wallet();
    let started = SystemClock.now() - Duration::from_secs(5);
    let before = wallet.balance().await.unwrap();
    let mut received = wallet.payments_received().await.unwrap();

    let invoice = wallet.invoice_create(&request(21, Duration::from_mins(10))).await.unwrap();
    let hash = invoice.payment_hash();
    assert_eq!(wallet.invoice_status(hash).await.unwrap(), Some(InvoiceStatus::Pending));
    let order = order(invoice);
    assert_eq!(wallet.payment_status(order.id, hash).await.unwrap(), None);

    let paid = wallet.payment_send(&order).await.unwrap();
    let Payment::Succeeded { preimage, fee } = paid else { panic!("expected a success, got {paid:?}") };
    assert_eq!((preimage.payment_hash(), fee), (hash, Msats::ZERO));
    // Paying again pays nothing.
    let again = PaymentOrder { id: PaymentId(random()), ..order.clone() };
    assert_eq!(wallet.payment_send(&again).await.unwrap(), paid);
    assert_eq!(wallet.payment_status(order.id, hash).await.unwrap(), Some(paid.clone()));
    assert_eq!(wallet.payment_status(again.id, hash).await.unwrap(), Some(paid));

    let event = timeout(LIMIT, received.next()).await.unwrap().unwrap();
    assert_eq!((event.payment_hash, event.preimage), (hash, Some(preimage)));
    assert_eq!(wallet.invoice_status(hash).await.unwrap(), Some(InvoiceStatus::Settled(event)));

    assert_eq!(wallet.balance().await.unwrap(), before);
    let settled = wallet.payments_settled(started).await.unwrap();
    let mut ours: Vec<_> = settled.iter().filter(|payment| payment.payment_hash == hash).collect();
    ours.sort_by_key(|payment| payment.direction);
    let directions: Vec<_> =
        ours.iter().map(|payment| (payment.direction, payment.amount.get(), payment.fee)).collect();
    let expected = [(Direction::Incoming, 21_000, Msats::ZERO), (Direction::Outgoing, 21_000, Msats::ZERO)];
    assert_eq!(directions, expected);
    let later = wallet.payments_settled(SystemClock.now() + Duration::from_mins(5)).await.unwrap();
    assert!(later.is_empty(), "{later:?}");
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn all_that_was_ever_settled_makes_the_balance() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let wallet = wallet();
    let settled = wallet.payments_settled(Timestamp::UNIX_EPOCH).await.unwrap();
    let (mut credit, mut debit) = (Msats::ZERO, Msats::ZERO);
    for payment in settled {
        match payment.direction {
            Direction::Incoming => credit = credit.checked_add(payment.amount).unwrap(),
            Direction::Outgoing => debit = debit.checked_add(payment.amount).unwrap(),
        }
        debit = debit.checked_add(payment.fee).unwrap();
    }
    assert_eq!(credit.checked_sub(debit).unwrap(), wallet.balance().await.unwrap());
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn what_the_wallet_does_not_know_is_none() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let wallet = wallet();
    let hash = unknown_hash();
    assert_eq!(wallet.invoice_status(hash).await.unwrap(), None);
    assert_eq!(wallet.payment_status(PaymentId(random()), hash).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn a_wrong_key_is_an_error_everywhere() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let invoice = wallet().invoice_create(&request(5, Duration::from_mins(10))).await.unwrap();
    let wallet = wallet_with("00000000000000000000000000000000", Arc::new(SystemClock));
    let (known, id) = (invoice.payment_hash(), PaymentId(random()));
    let refused = [
        wallet.balance().await.err(),
        wallet.invoice_create(&request(5, Duration::from_mins(10))).await.err(),
        wallet.invoice_status(known).await.err(),
        wallet.invoice_status(unknown_hash()).await.err(),
        wallet.payment_status(id, known).await.err(),
        wallet.payments_settled(Timestamp::UNIX_EPOCH).await.err(),
        wallet.payment_send(&order(invoice)).await.err(),
        wallet.payments_received().await.err(),
    ];
    for (nth, failure) in refused.iter().enumerate() {
        assert!(
            matches!(failure, Some(WalletError::Refused(text)) if text == "Wallet not found."),
            "{nth}: {failure:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn a_fee_limit_below_the_reserve_sends_nothing() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let wallet = wallet();
    let invoice = wallet.invoice_create(&request(21, Duration::from_mins(10))).await.unwrap();
    let hash = invoice.payment_hash();
    let order = PaymentOrder { max_fee: Msats::new(1).unwrap(), ..order(invoice) };
    let failure = wallet.payment_send(&order).await.unwrap_err();
    assert!(matches!(&failure, WalletError::Refused(text) if text.starts_with("fee limit: ")), "{failure:?}");
    assert_eq!(wallet.payment_status(order.id, hash).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn an_invoice_above_the_balance_is_not_paid() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let wallet = wallet();
    let balance = wallet.balance().await.unwrap().to_sats_rounding_down().get();
    let invoice = wallet.invoice_create(&request(balance + 1, Duration::from_mins(10))).await.unwrap();
    let order = PaymentOrder { max_fee: Msats::new(1_000_000_000).unwrap(), ..order(invoice) };
    let payment = wallet.payment_send(&order).await.unwrap();
    assert_eq!(payment, Payment::Failed { reason: "Insufficient balance.".to_owned() });
}

#[tokio::test]
#[ignore = "needs a real LNbits"]
async fn an_expired_invoice_is_expired_and_cannot_be_paid() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (wallet, key) = (wallet(), env("TITHE_TEST_LNBITS_KEY"));
    // Invoices count in whole seconds, and half of the time must be left.
    let invoice = wallet.invoice_create(&request(3, Duration::from_secs(3))).await.unwrap();
    let hash = invoice.payment_hash();
    let later = wallet_with(&key, Arc::new(ManualClock::at(SystemClock.now() + Duration::from_mins(5))));
    let expired = async {
        while later.invoice_status(hash).await.unwrap() != Some(InvoiceStatus::Expired) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LIMIT, expired).await.unwrap();
    let order = order(invoice);
    let payment = wallet.payment_send(&order).await.unwrap();
    assert!(matches!(payment, Payment::Failed { .. }), "{payment:?}");
    assert_eq!(wallet.payment_status(order.id, hash).await.unwrap(), None);
    assert_eq!(later.invoice_status(hash).await.unwrap(), Some(InvoiceStatus::Expired));
}
