//! The list of settled payments.

use crate::lnbits::{Lnbits, at, error, get, hash, msats, refund, with};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{Direction, Wallet, WalletError, WalletPayment};
use wiremock::matchers::query_param;
use wiremock::{Request, Respond, ResponseTemplate};

/// The list of the payments that succeeded, the last changed first.
struct Ledger {
    /// The records now, and what happens before each further page.
    records: Mutex<Vec<Value>>,
    between: fn(&mut Vec<Value>),
}

impl Respond for Ledger {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let number = |name: &str| -> usize {
            let mut pairs = request.url.query_pairs();
            pairs.find(|(key, _)| key == name).unwrap().1.parse().unwrap()
        };
        let (offset, limit) = (number("offset"), number("limit"));
        let mut records = self.records.lock().unwrap();
        if offset > 0 {
            (self.between)(&mut records);
        }
        let data: Vec<&Value> = records.iter().skip(offset).take(limit).collect();
        // LNbits counts no records on a page behind the end.
        let total = if data.is_empty() { 0 } else { records.len() };
        ResponseTemplate::new(200).set_body_json(json!({ "data": data, "total": total }))
    }
}

const NOON: &str = "2026-11-20T12:00:00Z";

/// The nth payment, settled n seconds after noon; every third one is incoming.
fn record(nth: u64) -> Value {
    let settled_at = (at(NOON) + Duration::from_secs(nth)).to_string();
    let amount = if nth.is_multiple_of(3) { 5_000 } else { -5_000 };
    let hash = format!("{nth:064x}");
    let fields = json!({ "checking_id": hash, "payment_hash": hash, "amount": amount, "fee": -7, "updated_at": settled_at });
    with(refund(), fields)
}

/// The payments from the nth down to the first.
fn records(newest: u64) -> Vec<Value> {
    (1..=newest).rev().map(record).collect()
}

async fn serving(records: Vec<Value>, between: fn(&mut Vec<Value>)) -> Lnbits {
    let lnbits = Lnbits::start().await;
    let ledger = Ledger { records: Mutex::new(records), between };
    let sorted = get("/api/v1/payments/paginated")
        .and(query_param("status", "success"))
        .and(query_param("sortby", "updated_at"))
        .and(query_param("direction", "desc"));
    sorted.respond_with(ledger).mount(&lnbits.server).await;
    lnbits
}

fn nothing(_: &mut Vec<Value>) {}

fn second(nth: u64) -> Timestamp {
    at(NOON) + Duration::from_secs(nth)
}

#[tokio::test]
async fn every_payment_since_the_time_is_listed_once() {
    let lnbits = serving(records(1_600), nothing).await;
    for (since, expected, requests) in [
        (at("2026-01-01T00:00:00Z"), 1_600, 4),
        (second(1), 1_600, 4),
        (second(1_101), 500, 2),
        (second(1_102), 499, 1),
        (second(1_600), 1, 1),
        // A time within the second of the last payment: LNbits stores some times in whole seconds.
        (second(1_600) + Duration::from_millis(900), 1, 1),
        (second(1_601), 0, 1),
    ] {
        let before = lnbits.requests().await;
        let settled = lnbits.wallet.payments_settled(since).await.unwrap();
        let hashes: HashSet<_> = settled.iter().map(|payment| payment.payment_hash).collect();
        assert_eq!((settled.len(), hashes.len()), (expected, expected), "{since}");
        assert_eq!(lnbits.requests().await - before, requests, "{since}");
    }
    let last = lnbits.wallet.payments_settled(second(1_599)).await.unwrap();
    let expected = |nth: u64, direction| WalletPayment {
        direction,
        payment_hash: hash(&format!("{nth:064x}")),
        amount: msats(5_000),
        fee: msats(7),
        settled_at: second(nth),
        description: (direction == Direction::Incoming).then(|| "refund".to_owned()),
    };
    assert_eq!(last, [expected(1_600, Direction::Outgoing), expected(1_599, Direction::Incoming)]);
}

#[tokio::test]
async fn an_empty_wallet_has_settled_nothing() {
    let lnbits = serving(vec![], nothing).await;
    assert_eq!(lnbits.wallet.payments_settled(second(0)).await.unwrap(), []);
}

#[tokio::test]
async fn a_payment_between_two_of_our_own_invoices_is_listed_in_both_directions() {
    let hash = "ab".repeat(32);
    let out = with(
        record(2),
        json!({ "checking_id": format!("internal_{hash}"), "payment_hash": hash, "amount": -5_000 }),
    );
    let paid =
        with(record(2), json!({ "checking_id": hash, "payment_hash": hash, "amount": 5_000, "fee": 0 }));
    let nought = with(record(2), json!({ "checking_id": "x", "amount": 0 }));
    let lnbits = serving(vec![paid, out, nought], nothing).await;
    let settled = lnbits.wallet.payments_settled(second(0)).await.unwrap();
    let directions: Vec<_> = settled.iter().map(|payment| (payment.direction, payment.fee)).collect();
    assert_eq!(directions, [(Direction::Incoming, msats(0)), (Direction::Outgoing, msats(7))]);
}

#[tokio::test]
async fn payments_that_settle_while_the_list_is_read_hide_none() {
    let lnbits = serving(records(1_600), |records| {
        let next = u64::try_from(records.len()).unwrap() + 1;
        (next..next + 49).for_each(|nth| records.insert(0, record(nth)));
    })
    .await;
    let settled = lnbits.wallet.payments_settled(second(1)).await.unwrap();
    let hashes: HashSet<_> = settled.iter().map(|payment| payment.payment_hash.to_string()).collect();
    assert!((1..=1_600).all(|nth: u64| hashes.contains(&format!("{nth:064x}"))));
    assert_eq!(settled.len(), hashes.len());
}

#[tokio::test]
async fn a_list_that_may_have_a_gap_is_an_error() {
    // Records vanish, or so many are added that the pages do not overlap any more.
    let vanish: fn(&mut Vec<Value>) = |records| drop(records.drain(..100));
    let flood: fn(&mut Vec<Value>) = |records| (9_000..9_600).for_each(|nth| records.insert(0, record(nth)));
    for between in [vanish, flood] {
        let lnbits = serving(records(1_600), between).await;
        let failure = lnbits.wallet.payments_settled(second(1)).await.unwrap_err();
        assert!(matches!(failure, WalletError::Unavailable(Some(_))), "{failure:?}");
    }
    // A version that ignores the order.
    let lnbits = serving((1..=600).map(record).collect(), nothing).await;
    let failure = lnbits.wallet.payments_settled(second(1)).await.unwrap_err();
    assert!(matches!(failure, WalletError::Nonsense(_)), "{failure:?}");
    // A version that has no such order, and a page that has fewer payments than the list.
    for (status, body) in [
        (400, error("1 validation error for Filters\n__root__\n  Invalid sort field (type=value_error)")),
        (200, json!({ "data": [record(2), record(1)], "total": 3 })),
        (200, json!({ "data": [record(2), with(record(1), json!({ "payment_hash": "x" }))], "total": 2 })),
        (502, json!("Bad Gateway")),
    ] {
        let lnbits = Lnbits::start().await;
        let answer = ResponseTemplate::new(status).set_body_json(&body);
        get("/api/v1/payments/paginated").respond_with(answer).mount(&lnbits.server).await;
        lnbits.wallet.payments_settled(second(0)).await.unwrap_err();
    }
}
