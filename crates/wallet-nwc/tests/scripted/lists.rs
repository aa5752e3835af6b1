//! The list of settled payments.

use crate::bench::{Bench, is_nonsense, is_refused, is_unavailable, start, within};
use crate::service::{Answer, Call, Service};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tithe_lightning::{Direction, Wallet};

/// The nth record: settled n seconds before the start.
fn record(n: u64) -> Value {
    let kind = if n.is_multiple_of(3) { "outgoing" } else { "incoming" };
    let at = start().unix_seconds() - i64::try_from(n).unwrap();
    json!({ "type": kind, "state": "settled", "payment_hash": format!("{n:064x}"), "amount": 1_000 + n,
        "fees_paid": n, "created_at": at, "settled_at": at })
}

fn page(call: &Call, records: &[Value], limit: usize) -> Answer {
    let number = |name: &str| usize::try_from(call.params[name].as_u64().unwrap()).unwrap();
    let page: Vec<_> =
        records.iter().skip(number("offset")).take(number("limit").min(limit)).cloned().collect();
    Answer::Result(json!({ "transactions": page }))
}

#[tokio::test]
async fn all_pages_are_read_to_the_millisat() {
    // Wallets may return fewer records than asked for.
    for (count, limit) in
        [(0, 50), (1, 50), (5, 50), (19, 50), (20, 50), (21, 50), (45, 50), (45, 7), (45, 2)]
    {
        let bench = Bench::new(Service::new());
        let records: Vec<_> = (0..count).map(record).collect();
        bench.service.on("list_transactions", move |call| page(call, &records, limit));
        let since = start() - Duration::from_secs(30);
        let settled = within(bench.wallet.payments_settled(since)).await.unwrap();
        let mut found: Vec<_> = settled
            .iter()
            .map(|payment| {
                (payment.amount.get(), payment.fee.get(), payment.direction == Direction::Outgoing)
            })
            .collect();
        found.sort_unstable();
        let expected: Vec<_> = (0..count.min(31)).map(|n| (1_000 + n, n, n.is_multiple_of(3))).collect();
        assert_eq!(found, expected, "{count} by {limit}");
        let params = &bench.service.calls("list_transactions")[0].params;
        let from = since.unix_seconds() - 24 * 60 * 60;
        assert_eq!(params, &json!({ "from": from, "limit": 20, "offset": 0, "unpaid": false }));
    }
}

#[tokio::test]
async fn payments_that_arrive_while_the_list_is_read_do_not_hide_others() {
    let bench = Bench::new(Service::new());
    let records = Arc::new(Mutex::new((10..60).map(record).collect::<Vec<_>>()));
    bench.service.on("list_transactions", move |call| {
        let mut records = records.lock().unwrap();
        if call.nth > 0 {
            records.splice(0..0, [record(9 - u64::try_from(call.nth).unwrap())]);
        }
        page(call, &records, 20)
    });
    let settled = within(bench.wallet.payments_settled(start() - Duration::from_hours(1))).await.unwrap();
    for n in 10..60 {
        assert!(settled.iter().any(|payment| payment.fee.get() == n), "{n}");
    }
}

#[tokio::test]
async fn a_list_that_may_have_gaps_is_an_error() {
    let since = start() - Duration::from_hours(1);
    // Records disappear from the front, so that the next page skips some.
    let bench = Bench::new(Service::new());
    let records: Vec<_> = (0..50).map(record).collect();
    bench.service.on("list_transactions", move |call| page(call, &records[call.nth * 6..], 20));
    assert!(is_unavailable(&within(bench.wallet.payments_settled(since)).await));

    // A wallet that ignores the offset never shows more than the first page.
    let bench = Bench::new(Service::new());
    let records: Vec<_> = (0..20).map(record).collect();
    bench.service.on_result("list_transactions", json!({ "transactions": records }));
    assert!(is_unavailable(&within(bench.wallet.payments_settled(since)).await));

    let bench = Bench::new(Service::new());
    bench.service.on_error("list_transactions", "NOT_IMPLEMENTED");
    assert!(is_refused(&within(bench.wallet.payments_settled(since)).await));

    let bench = Bench::new(Service::new());
    let mut broken = record(1);
    broken["payment_hash"] = json!("x");
    bench.service.on_result("list_transactions", json!({ "transactions": [broken] }));
    assert!(is_nonsense(&within(bench.wallet.payments_settled(since)).await));

    // The second page fails.
    let bench = Bench::new(Service::new());
    let records: Vec<_> = (0..50).map(record).collect();
    bench.service.on("list_transactions", move |call| match call.nth {
        1 => Answer::Error("INTERNAL"),
        _ => page(call, &records, 20),
    });
    assert!(is_unavailable(&within(bench.wallet.payments_settled(since)).await));
}
