use crate::bench::{Bench, msats, request, settlement};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_lightning::{
    Bolt11, ExpectedInvoice, InvoiceRequest, InvoiceStatus, Network, PaymentHash, ReceivedPayment, TestPayer,
    TestPaymentError, Wallet, WalletCapabilities, WalletError,
};
use tithe_money::Sats;

#[tokio::test]
async fn an_invoice_says_what_was_asked_for_and_is_signed_by_the_node() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    bench.clock.advance(Duration::from_micros(999_999));
    let asked_at = bench.clock.now();
    let invoice = wallet.invoice_create(&request(1, 21)).await.unwrap();

    let read: Bolt11 = invoice.as_str().parse().unwrap();
    let expected = ExpectedInvoice {
        network: Network::Regtest,
        amount: msats(21_000),
        payment_hash: Some(invoice.payment_hash()),
        expires_after: asked_at + Duration::from_mins(10),
    };
    assert_eq!(read.check(&expected), Ok(()));
    assert!(read.expires_at() < expected.expires_after + Duration::from_secs(1));

    let raw: lightning_invoice::Bolt11Invoice = invoice.as_str().parse().unwrap();
    assert_eq!(raw.recover_payee_pub_key().to_string(), wallet.node_id());
    assert_eq!(raw.description().to_string(), "a test");
    assert_eq!(raw.min_final_cltv_expiry_delta(), 80);
}

#[test]
fn it_says_that_it_is_a_simulation() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wallet = runtime.block_on(Bench::new().try_open()).unwrap();
    assert_eq!(wallet.network(), Network::Regtest);
    let expected = WalletCapabilities { hold_invoices: true, amountless_invoices: true, simulated: true };
    assert_eq!(wallet.capabilities(), expected);
}

#[tokio::test]
async fn asking_again_gives_the_same_invoice_until_it_has_lapsed_unpaid() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let first = wallet.invoice_create(&request(1, 21)).await.unwrap();
    assert_eq!(wallet.invoice_create(&request(1, 21)).await.unwrap(), first);
    assert_ne!(wallet.invoice_create(&request(2, 21)).await.unwrap().payment_hash(), first.payment_hash());

    bench.clock.advance(Duration::from_mins(10));
    let second = wallet.invoice_create(&request(1, 21)).await.unwrap();
    assert_ne!(second.payment_hash(), first.payment_hash());

    wallet.pay(&second).await.unwrap();
    bench.clock.advance(Duration::from_mins(10));
    assert_eq!(wallet.invoice_create(&request(1, 21)).await.unwrap(), second);
}

#[tokio::test]
async fn one_id_is_one_request() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    wallet.invoice_create(&request(1, 21)).await.unwrap();
    let other = InvoiceRequest { description: "another".to_owned(), ..request(1, 21) };
    for changed in [request(1, 22), other] {
        let answer = wallet.invoice_create(&changed).await;
        assert!(matches!(answer, Err(WalletError::Refused(_))), "{answer:?}");
    }
    assert_eq!(bench.journal_lines(), 1);
}

#[tokio::test]
async fn what_cannot_be_an_invoice_is_refused() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let longest = InvoiceRequest { description: "é".repeat(319), ..request(1, 1) };
    wallet.invoice_create(&longest).await.unwrap();
    wallet
        .invoice_create(&InvoiceRequest {
            amount: Sats::new(1_800_000_000_000_000).unwrap(),
            ..request(2, 1)
        })
        .await
        .unwrap();

    let cases = [
        request(3, 0),
        InvoiceRequest { description: "é".repeat(320), ..request(3, 1) },
        InvoiceRequest { expiry: Duration::ZERO, ..request(3, 1) },
        InvoiceRequest { expiry: Duration::MAX, ..request(3, 1) },
        InvoiceRequest { amount: Sats::MAX, ..request(3, 1) },
    ];
    for case in cases {
        let answer = wallet.invoice_create(&case).await;
        assert!(matches!(answer, Err(WalletError::Refused(_))), "{case:?}: {answer:?}");
    }
}

#[tokio::test]
async fn an_invoice_is_pending_until_it_is_paid_or_its_time_is_over() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let unknown = PaymentHash::from_bytes([1; 32]);
    assert_eq!(wallet.invoice_status(unknown).await.unwrap(), None);

    let paid = wallet.invoice_create(&request(1, 21)).await.unwrap();
    let unpaid = wallet.invoice_create(&request(2, 21)).await.unwrap();
    bench.clock.advance(Duration::from_secs(599));
    for invoice in [&paid, &unpaid] {
        let status = wallet.invoice_status(invoice.payment_hash()).await.unwrap();
        assert_eq!(status, Some(InvoiceStatus::Pending));
    }

    let preimage = wallet.pay(&paid).await.unwrap();
    assert_eq!(preimage.payment_hash(), paid.payment_hash());
    let expected = ReceivedPayment {
        payment_hash: paid.payment_hash(),
        amount: msats(21_000),
        liquidity_fee: msats(0),
        preimage: Some(preimage),
        received_at: bench.clock.now(),
    };
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(settlement(&wallet, &paid).await, expected);
    let status = wallet.invoice_status(unpaid.payment_hash()).await.unwrap();
    assert_eq!(status, Some(InvoiceStatus::Expired));
    assert_eq!(wallet.balance().await.unwrap(), msats(21_000));
}

#[tokio::test]
async fn an_invoice_is_paid_once_and_in_time_or_not_at_all() {
    let bench = Bench::new();
    let wallet = bench.open().await;
    let paid = wallet.invoice_create(&request(1, 21)).await.unwrap();
    wallet.pay(&paid).await.unwrap();
    assert!(matches!(wallet.pay(&paid).await, Err(TestPaymentError::AlreadyPaid(_))));

    let made_to_expire = wallet.invoice_create(&request(2, 21)).await.unwrap();
    wallet.expire(made_to_expire.payment_hash()).await.unwrap();
    wallet.expire(made_to_expire.payment_hash()).await.unwrap();
    assert!(matches!(wallet.pay(&made_to_expire).await, Err(TestPaymentError::Expired(_))));

    let late = wallet.invoice_create(&request(3, 21)).await.unwrap();
    bench.clock.advance(Duration::from_mins(10));
    assert!(matches!(wallet.pay(&late).await, Err(TestPaymentError::Expired(_))));

    let elsewhere = crate::bench::foreign_invoice(&bench, 4, 21).await;
    assert!(matches!(wallet.pay(&elsewhere).await, Err(TestPaymentError::Unknown(_))));
    for refused in [paid.payment_hash(), elsewhere.payment_hash()] {
        assert!(matches!(wallet.expire(refused).await, Err(WalletError::Refused(_))));
    }
    assert_eq!(wallet.balance().await.unwrap(), msats(21_000));
}
