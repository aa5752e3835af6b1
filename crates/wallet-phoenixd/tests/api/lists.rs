//! The lists of settled payments.

use crate::bench::{Bench, NOW_MILLIS, PREIMAGE, Terms, bolt11, msats, now, ok};
use crate::status::paid;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{Direction, PaymentHash, Preimage, Wallet, WalletError, WalletPayment};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

const PAGE_LEN: u64 = 200;

fn preimage(number: u64) -> Preimage {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Preimage::from_bytes(bytes)
}

fn hash(number: u64) -> PaymentHash {
    preimage(number).payment_hash()
}

fn received(number: u64) -> String {
    format!(
        r#"{{"subType":"lightning","paymentHash":"{}","preimage":"{}","isPaid":true,"receivedSat":{number},"fees":0,
            "completedAt":{},"createdAt":1}}"#,
        hash(number),
        preimage(number).reveal(),
        NOW_MILLIS
    )
}

fn sent(number: u64, sat: u64, fees: u64, more: &str) -> String {
    format!(
        r#"{{"subType":"lightning","paymentId":"{number}","paymentHash":"{}","preimage":"{}","isPaid":true,"sent":{sat},
            "fees":{fees},"completedAt":{},"createdAt":1{more}}}"#,
        hash(number),
        preimage(number).reveal(),
        NOW_MILLIS + 5
    )
}

fn array(items: impl IntoIterator<Item = String>) -> ResponseTemplate {
    let items: Vec<String> = items.into_iter().collect();
    ok(&format!("[{}]", items.join(",")))
}

async fn page(bench: &Bench, at: &str, offset: u64, response: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(at))
        .and(query_param("offset", offset.to_string()))
        .and(query_param("limit", PAGE_LEN.to_string()))
        .respond_with(response)
        .mount(&bench.server)
        .await;
}

fn hashes(payments: &[WalletPayment]) -> Vec<PaymentHash> {
    let mut hashes: Vec<PaymentHash> = payments.iter().map(|payment| payment.payment_hash).collect();
    hashes.sort_unstable();
    hashes
}

#[tokio::test]
async fn both_directions_are_listed_with_exact_amounts_and_fees() {
    let bench = Bench::new().await;
    let invoice = bolt11(Terms { amount: Some(1_000_400), ..Terms::default() });
    let incoming = "/payments/incoming";
    let outgoing = "/payments/outgoing";
    page(&bench, incoming, 0, array([paid(123, 877_000), received(21)])).await;
    page(&bench, incoming, PAGE_LEN, array([])).await;
    let on_chain = r#"{"subType":"auto_liquidity","paymentId":"a","txId":"00","isPaid":true,"sent":21,"fees":21000,
        "completedAt":1,"createdAt":1}"#;
    let sub_sat = format!(r#","invoice":"{invoice}""#);
    let sends = [sent(1, 1_008, 8_001, &sub_sat), sent(2, 29, 4_100, ""), on_chain.to_owned()];
    page(&bench, outgoing, 0, array(sends)).await;
    page(&bench, outgoing, PAGE_LEN, array([])).await;

    let listed = bench.wallet.payments_settled(now()).await.unwrap();
    let entry = |direction, payment_hash, amount, fee, millis| WalletPayment {
        direction,
        payment_hash,
        amount: msats(amount),
        fee: msats(fee),
        settled_at: now() + Duration::from_millis(millis),
        description: None,
    };
    assert_eq!(
        listed,
        [
            WalletPayment {
                description: Some("a job".to_owned()),
                ..entry(Direction::Incoming, PREIMAGE.payment_hash(), 1_000_000, 877_000, 1_234)
            },
            entry(Direction::Incoming, hash(21), 21_000, 0, 0),
            entry(Direction::Outgoing, hash(1), 1_000_400, 8_001, 5),
            entry(Direction::Outgoing, hash(2), 25_000, 4_100, 5),
        ]
    );
}

#[tokio::test]
async fn all_pages_are_read_although_one_is_short_and_payments_move() {
    let bench = Bench::new().await;
    let at = "/payments/incoming";
    // The first page is short: phoenixd has left something out that it does not show.
    page(&bench, at, 0, array((1..=150).map(received))).await;
    // A payment arrived in between, so the last one of the first page is also the first one here.
    page(&bench, at, PAGE_LEN, array((150..=349).map(received))).await;
    page(&bench, at, 2 * PAGE_LEN, array([received(350)])).await;
    page(&bench, at, 3 * PAGE_LEN, array([])).await;
    bench.get("/payments/outgoing", array([])).await;
    let listed = bench.wallet.payments_settled(now()).await.unwrap();
    let mut all: Vec<PaymentHash> = (1..=350).map(hash).collect();
    all.sort_unstable();
    assert_eq!(hashes(&listed), all);
}

#[tokio::test]
async fn the_list_begins_with_the_millisecond_and_has_no_end() {
    let bench = Bench::new().await;
    for at in ["/payments/incoming", "/payments/outgoing"] {
        bench.get(at, array([])).await;
    }
    bench.wallet.payments_settled(now() + Duration::from_micros(1_999)).await.unwrap();
    bench.wallet.payments_settled(Timestamp::UNIX_EPOCH - Duration::from_secs(1)).await.unwrap();
    for at in ["/payments/incoming", "/payments/outgoing"] {
        let requests = bench.requests(at).await;
        let queries: Vec<_> = requests.iter().map(|request| request.url.query().unwrap()).collect();
        let rest = "to=9999999999999&limit=200&offset=0";
        assert_eq!(queries, [format!("from={}&{rest}", NOW_MILLIS + 1), format!("from=0&{rest}")]);
    }
}

#[tokio::test]
async fn an_incomplete_list_is_an_error() {
    let at = "/payments/incoming";
    let failing = Bench::new().await;
    page(&failing, at, 0, array([received(1)])).await;
    page(&failing, at, PAGE_LEN, ResponseTemplate::new(502)).await;
    assert!(matches!(failing.wallet.payments_settled(now()).await, Err(WalletError::Unavailable(_))));

    // A server that knows no pages would go on for ever.
    let endless = Bench::new().await;
    endless.get(at, array([received(1)])).await;
    assert!(matches!(endless.wallet.payments_settled(now()).await, Err(WalletError::Nonsense(_))));

    let wrong = Bench::new().await;
    page(&wrong, at, 0, array([received(1).replace("completedAt", "somethingElse")])).await;
    page(&wrong, at, PAGE_LEN, array([])).await;
    assert!(matches!(wrong.wallet.payments_settled(now()).await, Err(WalletError::Nonsense(_))));
}
