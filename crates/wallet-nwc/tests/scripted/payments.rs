//! Payments: what is sent, and what each answer means.

use crate::bench::{
    Bench, hash, invoice, invoice_with, is_nonsense, is_refused, is_unavailable, is_unknown, msats, order,
    payment_id, preimage, settings, wallet_at, within,
};
use crate::relay::Relay;
use crate::service::{Answer, Service};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tithe_clock::ManualClock;
use tithe_lightning::lightning_invoice::Currency;
use tithe_lightning::{Network, Payment, PaymentOrder, Wallet};
use tithe_money::{BasisPoints, Sats};
use tithe_wallet_nwc::{FeeLimit, NwcWallet};

fn record(kind: &str, fields: Value) -> Value {
    let mut record = json!({ "type": kind, "payment_hash": hash().to_string(), "amount": 21_000, "fees_paid": 2,
        "created_at": 1_700_000_000 });
    let Value::Object(fields) = fields else { panic!("an object is needed") };
    record.as_object_mut().unwrap().extend(fields);
    record
}

fn outgoing(state: &str) -> Value {
    let preimage = if state == "settled" { preimage().reveal() } else { String::new() };
    record("outgoing", json!({ "state": state, "preimage": preimage }))
}

fn succeeded(fee: u64) -> Payment {
    Payment::Succeeded { preimage: preimage(), fee: msats(fee) }
}

fn list(records: &[Value]) -> Value {
    json!({ "transactions": records })
}

#[tokio::test]
async fn a_payment_succeeds_with_its_preimage_and_fee() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("pay_invoice", json!({ "preimage": preimage().reveal(), "fees_paid": 345 }));
    assert_eq!(within(bench.wallet.payment_send(&order())).await.unwrap(), succeeded(345));
    let call = &bench.service.calls("pay_invoice")[0];
    assert_eq!(call.params, json!({ "invoice": order().request.as_str() }));
}

#[tokio::test]
async fn an_invoice_without_an_amount_is_paid_with_the_amount_of_the_order() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("pay_invoice", json!({ "preimage": preimage().reveal(), "fees_paid": 0 }));
    let open = PaymentOrder { request: invoice(None), amount: Some(msats(5_001)), ..order() };
    assert_eq!(within(bench.wallet.payment_send(&open)).await.unwrap(), succeeded(0));
    let call = &bench.service.calls("pay_invoice")[0];
    assert_eq!(call.params, json!({ "invoice": open.request.as_str(), "amount": 5_001 }));
}

#[tokio::test]
async fn an_order_that_can_never_be_paid_is_refused_without_a_request() {
    let bench = Bench::new(Service::new());
    let elsewhere = invoice_with(Currency::Bitcoin, Some(1_000), hash(), Duration::from_hours(1));
    for bad in [
        PaymentOrder { amount: Some(msats(1)), ..order() },
        PaymentOrder { request: invoice(None), ..order() },
        PaymentOrder { request: invoice(None), amount: Some(msats(0)), ..order() },
        PaymentOrder { request: elsewhere, ..order() },
    ] {
        assert!(is_refused(&within(bench.wallet.payment_send(&bad)).await), "{bad:?}");
    }
    assert!(
        bench.service.calls("lookup_invoice").is_empty() && bench.service.calls("pay_invoice").is_empty()
    );
}

#[tokio::test]
async fn an_expired_invoice_is_not_sent() {
    let bench = Bench::new(Service::new());
    bench.clock.advance(Duration::from_hours(1));
    let result = within(bench.wallet.payment_send(&order())).await.unwrap();
    assert_eq!(result, Payment::Failed { reason: "the invoice has expired".to_owned() });
    assert!(bench.service.calls("pay_invoice").is_empty());
    // But an earlier attempt counts.
    bench.service.on_result("lookup_invoice", outgoing("settled"));
    assert_eq!(within(bench.wallet.payment_send(&order())).await.unwrap(), succeeded(2));
}

#[tokio::test]
async fn the_fee_limit_is_kept_before_anything_is_sent() {
    let limit = |share, minimum| FeeLimit::WalletLimit {
        share: BasisPoints::new(share).unwrap(),
        minimum: Sats::new(minimum).unwrap(),
    };
    // Of 21 000 msat, 1 % is 210 msat.
    for (fee_limit, max_fee, sent) in [
        (limit(100, 0), 210, true),
        (limit(100, 0), 209, false),
        (limit(100, 1), 1_000, true),
        (limit(100, 1), 999, false),
        (FeeLimit::ALBY_HUB, 10_000, true),
        (FeeLimit::ALBY_HUB, 9_999, false),
        (FeeLimit::MaxFee, 0, true),
    ] {
        let bench = Bench::with(Service::new(), |settings| settings.fee_limit = fee_limit);
        bench.service.on_result("pay_invoice", json!({ "preimage": preimage().reveal(), "fees_paid": 0 }));
        let limited = PaymentOrder { max_fee: msats(max_fee), ..order() };
        let result = within(bench.wallet.payment_send(&limited)).await.unwrap();
        let calls = bench.service.calls("pay_invoice");
        assert_eq!(matches!(result, Payment::Succeeded { .. }), sent, "{fee_limit:?} {max_fee}: {result:?}");
        assert_eq!(matches!(result, Payment::Failed { .. }), !sent);
        assert_eq!(calls.len(), usize::from(sent));
        // Only a wallet that is known to read it gets the parameter.
        let stated = calls.first().and_then(|call| call.params.get("max_fee").cloned());
        assert_eq!(stated, (fee_limit == FeeLimit::MaxFee).then(|| json!(max_fee)));
    }
}

#[tokio::test]
async fn without_a_stated_fee_limit_no_payment_is_made() {
    let bench = Bench::with(Service::new(), |settings| settings.fee_limit = FeeLimit::default());
    let generous = PaymentOrder { max_fee: msats(21_000_000), ..order() };
    assert!(is_refused(&within(bench.wallet.payment_send(&generous)).await));
    assert!(bench.service.calls("pay_invoice").is_empty());
}

#[tokio::test]
async fn a_wallet_on_another_network_is_refused() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("get_info", json!({ "network": "bitcoin" }));
    bench.service.on_result("get_balance", json!({ "balance": 1 }));
    assert!(is_refused(&within(bench.wallet.payment_send(&order())).await));
    assert!(is_refused(&within(bench.wallet.balance()).await));
    assert!(bench.service.calls("pay_invoice").is_empty() && bench.service.calls("get_balance").is_empty());
    // A wallet that does not say is believed, once and for all.
    bench.service.on_error("get_info", "RESTRICTED");
    for _ in 0..2 {
        within(bench.wallet.balance()).await.unwrap();
    }
    assert_eq!(bench.service.calls("get_info").len(), 3);
}

#[tokio::test]
async fn what_the_wallet_refuses_was_not_paid() {
    for code in ["INSUFFICIENT_BALANCE", "QUOTA_EXCEEDED", "FEE_LIMIT_EXCEEDED"] {
        let bench = Bench::new(Service::new());
        bench.service.on_error("pay_invoice", code);
        let result = within(bench.wallet.payment_send(&order())).await.unwrap();
        assert_eq!(result, Payment::Failed { reason: format!("{code}: no") });
        assert_eq!(within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap(), None);
    }
    for code in ["RESTRICTED", "UNAUTHORIZED", "NOT_IMPLEMENTED", "UNSUPPORTED_ENCRYPTION"] {
        let bench = Bench::new(Service::new());
        bench.service.on_error("pay_invoice", code);
        assert!(is_refused(&within(bench.wallet.payment_send(&order())).await), "{code}");
        assert_eq!(within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap(), None);
    }
    let bench = Bench::new(Service::new());
    bench.service.on_error("pay_invoice", "RATE_LIMITED");
    assert!(is_unavailable(&within(bench.wallet.payment_send(&order())).await));
    assert_eq!(within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap(), None);
}

#[tokio::test]
async fn after_an_ambiguous_error_the_record_decides() {
    for code in ["PAYMENT_FAILED", "INTERNAL", "OTHER", "NOT_FOUND", "BAD_REQUEST", ""] {
        for (state, expected) in [
            (Some("settled"), Some(succeeded(2))),
            (Some("pending"), Some(Payment::InFlight)),
            (Some("accepted"), Some(Payment::InFlight)),
            (Some("expired"), Some(Payment::InFlight)),
            (Some("failed"), Some(Payment::Failed { reason: String::new() })),
            (None, None),
        ] {
            let bench = Bench::new(Service::new());
            bench.service.on_error("pay_invoice", code);
            bench.service.on("lookup_invoice", move |call| match state {
                Some(state) if call.nth > 0 => Answer::Result(outgoing(state)),
                _ => Answer::Error("NOT_FOUND"),
            });
            let result = within(bench.wallet.payment_send(&order())).await;
            match expected {
                None => assert!(is_unknown(&result), "{code} {state:?}: {result:?}"),
                Some(Payment::Failed { .. }) => {
                    assert!(matches!(result, Ok(Payment::Failed { .. })), "{code} {state:?}: {result:?}");
                }
                Some(expected) => assert_eq!(result.unwrap(), expected, "{code} {state:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_does_not_count_when_another_copy_of_the_request_may_have_been_carried_out() {
    for (state, expected) in [
        (Some("pending"), Some(Payment::InFlight)),
        (Some("settled"), Some(succeeded(2))),
        (Some("failed"), None),
    ] {
        let service = Service::new();
        service.recognises_copies.store(false, Ordering::Relaxed);
        let relays = [Relay::start(&service), Relay::start(&service)];
        let wallet = wallet_at(&service, &[relays[0].url(), relays[1].url()], Duration::from_secs(20));
        // One request by both relays shows that both are connected.
        within(async {
            while service.calls("lookup_invoice").len() < 2 {
                wallet.payment_status(payment_id(), hash()).await.unwrap();
            }
        })
        .await;
        // The first copy takes the money and is slow; the second finds nothing left.
        service.on("pay_invoice", |call| match call.nth {
            0 => Answer::Nothing,
            _ => Answer::Error("INSUFFICIENT_BALANCE"),
        });
        let paying = Arc::clone(&service);
        service.on("lookup_invoice", move |_| match state {
            Some(state) if !paying.calls("pay_invoice").is_empty() => Answer::Result(outgoing(state)),
            _ => Answer::Error("NOT_FOUND"),
        });
        let result = within(wallet.payment_send(&order())).await.unwrap();
        match expected {
            Some(expected) => assert_eq!(result, expected),
            None => assert_eq!(result, Payment::Failed { reason: "INSUFFICIENT_BALANCE: no".to_owned() }),
        }
    }
}

#[tokio::test]
async fn a_success_needs_the_preimage() {
    for wrong in
        [json!({}), json!({ "preimage": "" }), json!({ "preimage": "00".repeat(32), "fees_paid": 1 })]
    {
        let bench = Bench::new(Service::new());
        bench.service.on_result("pay_invoice", wrong.clone());
        assert!(is_unknown(&within(bench.wallet.payment_send(&order())).await), "{wrong}");
        bench.service.on_result("lookup_invoice", outgoing("settled"));
        assert_eq!(within(bench.wallet.payment_send(&order())).await.unwrap(), succeeded(2), "{wrong}");
        assert_eq!(bench.service.calls("pay_invoice").len(), 1);
    }
}

#[tokio::test]
async fn a_fee_that_the_response_leaves_out_is_looked_up() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("pay_invoice", json!({ "preimage": preimage().reveal() }));
    bench.service.on("lookup_invoice", |call| match call.nth {
        0 => Answer::Error("NOT_FOUND"),
        _ => Answer::Result(outgoing("settled")),
    });
    assert_eq!(within(bench.wallet.payment_send(&order())).await.unwrap(), succeeded(2));
}

#[tokio::test]
async fn a_payment_that_is_known_is_not_made_again() {
    let bench = Bench::new(Service::new());
    bench.service.on_result("pay_invoice", json!({ "preimage": preimage().reveal(), "fees_paid": 9 }));
    for (state, payment, sent) in [
        ("pending", Payment::InFlight, 0),
        ("expired", Payment::InFlight, 0),
        ("settled", succeeded(2), 0),
        ("failed", succeeded(9), 1),
    ] {
        bench.service.on_result("lookup_invoice", outgoing(state));
        assert_eq!(within(bench.wallet.payment_send(&order())).await.unwrap(), payment, "{state}");
        assert_eq!(bench.service.calls("pay_invoice").len(), sent, "{state}");
    }
}

#[tokio::test]
async fn a_wallet_that_cannot_be_asked_about_payments_makes_none() {
    let bench = Bench::new(Service::new());
    bench.service.on_error("lookup_invoice", "NOT_IMPLEMENTED");
    assert!(is_refused(&within(bench.wallet.payment_send(&order())).await));
    bench.service.on_error("lookup_invoice", "INTERNAL");
    assert!(is_unavailable(&within(bench.wallet.payment_send(&order())).await));
    assert!(bench.service.calls("pay_invoice").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_send_one_request() {
    let bench = Bench::with(Service::new(), |settings| settings.timeout = Duration::from_secs(3));
    bench.service.on("pay_invoice", |_| Answer::Nothing);
    let (one, two) = (order(), order());
    let (one, two) =
        within(async { tokio::join!(bench.wallet.payment_send(&one), bench.wallet.payment_send(&two)) })
            .await;
    let in_flight = |result: &Result<Payment, _>| matches!(result, Ok(Payment::InFlight));
    assert!(is_unknown(&one) && in_flight(&two) || is_unknown(&two) && in_flight(&one), "{one:?} {two:?}");
    assert_eq!(bench.service.calls("pay_invoice").len(), 1);
}

#[tokio::test]
async fn a_lost_payment_is_in_flight_until_its_request_has_expired() {
    let bench = Bench::with(Service::new(), |settings| settings.timeout = Duration::from_secs(3));
    bench.service.on("pay_invoice", |_| Answer::Nothing);
    assert!(is_unknown(&within(bench.wallet.payment_send(&order())).await));
    let status = || async { within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap() };
    assert_eq!(status().await, Some(Payment::InFlight));
    assert_eq!(within(bench.wallet.payment_send(&order())).await.unwrap(), Payment::InFlight);
    // What the wallet says counts more.
    bench.service.on_result("lookup_invoice", outgoing("failed"));
    assert!(matches!(status().await, Some(Payment::Failed { .. })));
    bench.service.on_result("lookup_invoice", outgoing("settled"));
    assert_eq!(status().await, Some(succeeded(2)));
    bench.service.on_error("lookup_invoice", "NOT_FOUND");
    // The time-out, a minute that the request lives longer, and a minute between the clocks.
    bench.clock.advance(Duration::from_secs(122));
    assert_eq!(status().await, Some(Payment::InFlight));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(status().await, None);
    assert_eq!(bench.service.calls("pay_invoice").len(), 1);
}

#[tokio::test]
async fn the_failure_of_an_earlier_attempt_does_not_end_a_lost_one() {
    let bench = Bench::with(Service::new(), |settings| settings.timeout = Duration::from_secs(3));
    bench.service.on_result("lookup_invoice", outgoing("failed"));
    bench.service.on("pay_invoice", |_| Answer::Nothing);
    assert!(is_unknown(&within(bench.wallet.payment_send(&order())).await));
    let status = within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap();
    assert_eq!(status, Some(Payment::InFlight));
    bench.clock.advance(Duration::from_secs(123));
    let status = within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap();
    assert!(matches!(status, Some(Payment::Failed { .. })), "{status:?}");
}

#[tokio::test]
async fn the_incoming_record_of_the_same_hash_is_not_our_payment() {
    let bench = Bench::new(Service::new());
    let paid =
        record("incoming", json!({ "state": "settled", "preimage": preimage().reveal(), "settled_at": 5 }));
    bench.service.on_result("lookup_invoice", paid.clone());
    let status = || async { within(bench.wallet.payment_status(payment_id(), hash())).await };
    assert_eq!(status().await.unwrap(), None);
    let call = &bench.service.calls("list_transactions")[0];
    assert_eq!((&call.params["type"], &call.params["unpaid"]), (&json!("outgoing"), &json!(true)));
    // A wallet that ignores the filter lists it as well.
    bench.service.on("list_transactions", move |call| match call.params["offset"].as_u64() {
        Some(0) => Answer::Result(list(&[paid.clone(), outgoing("pending")])),
        _ => Answer::Result(list(&[])),
    });
    assert_eq!(status().await.unwrap(), Some(Payment::InFlight));
    let unclear = record("", json!({ "state": "settled", "preimage": preimage().reveal() }));
    bench.service.on_result("lookup_invoice", unclear);
    assert!(is_nonsense(&status().await));
}

#[tokio::test]
async fn of_several_attempts_in_the_list_the_best_counts() {
    let bench = Bench::new(Service::new());
    for (states, expected) in
        [(vec!["failed", "pending"], Payment::InFlight), (vec!["failed", "settled", "pending"], succeeded(2))]
    {
        let attempts: Vec<_> = states.iter().map(|state| outgoing(state)).collect();
        bench.service.on_result("list_transactions", list(&attempts));
        let status = within(bench.wallet.payment_status(payment_id(), hash())).await.unwrap();
        assert_eq!(status, Some(expected));
    }
}

#[tokio::test]
async fn a_payment_that_a_look_up_does_not_find_is_searched_in_the_list() {
    let bench = Bench::new(Service::new());
    // Look-ups find invoices only, so the whole list is searched: the payment is on the second page.
    let mut records: Vec<_> = (0..30)
        .map(|n| record("outgoing", json!({ "payment_hash": format!("{n:064x}"), "state": "settled" })))
        .collect();
    records.push(outgoing("settled"));
    bench.service.on("list_transactions", move |call| {
        let number = |name: &str| usize::try_from(call.params[name].as_u64().unwrap()).unwrap();
        let page: Vec<_> = records.iter().skip(number("offset")).take(number("limit")).cloned().collect();
        Answer::Result(list(&page))
    });
    let status = || async { within(bench.wallet.payment_status(payment_id(), hash())).await };
    assert_eq!(status().await.unwrap(), Some(succeeded(2)));

    // A wallet whose look-ups find other payments is believed when they do not find this one.
    let pages = bench.service.calls("list_transactions").len();
    bench.service.on("lookup_invoice", |call| match call.params["payment_hash"].as_str() {
        Some(text) if text == hash().to_string() => Answer::Error("NOT_FOUND"),
        Some(text) => Answer::Result(record("outgoing", json!({ "payment_hash": text, "state": "settled" }))),
        None => Answer::Error("OTHER"),
    });
    assert_eq!(status().await.unwrap(), None);
    assert_eq!(bench.service.calls("list_transactions").len(), pages + 1);
    assert_eq!(status().await.unwrap(), None);
    assert_eq!(bench.service.calls("list_transactions").len(), pages + 1);
}

#[tokio::test]
async fn a_wallet_without_a_list_has_no_other_record() {
    let bench = Bench::new(Service::new());
    for code in ["NOT_IMPLEMENTED", "RESTRICTED"] {
        bench.service.on_error("list_transactions", code);
        let status = within(bench.wallet.payment_status(payment_id(), hash())).await;
        assert_eq!(status.unwrap(), None);
    }
    bench.service.on_error("list_transactions", "INTERNAL");
    assert!(is_unavailable(&within(bench.wallet.payment_status(payment_id(), hash())).await));
}

#[tokio::test]
async fn a_wallet_for_mainnet_does_not_pay_on_regtest() {
    let service = Service::new();
    let mut mainnet = settings(&service, &["ws://127.0.0.1:1".to_owned()]);
    mainnet.network = Network::Mainnet;
    let wallet = NwcWallet::new(mainnet, Arc::new(ManualClock::at(crate::bench::start())));
    assert!(is_refused(&within(wallet.payment_send(&order())).await));
}
