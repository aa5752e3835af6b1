//! Hold invoices at a wallet that answers as a test says.

use crate::bench::{Bench, hash, preimage, start, within};
use crate::service::{Answer, Service};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::{HeldPayment, InvoiceStatus, Wallet, WalletError};
use tithe_money::Msats;

const HEIGHT: u32 = 900_000;

/// The record of a hold invoice, as Alby Hub has it.
fn record(state: &str, deadline: Option<u32>) -> Value {
    json!({
        "type": "incoming",
        "state": state,
        "payment_hash": hash().to_string(),
        "amount": 21_000,
        "fees_paid": 0,
        "preimage": "",
        "created_at": 1_700_000_000,
        "expires_at": start().unix_seconds() + 600,
        "settled_at": null,
        "settle_deadline": deadline,
    })
}

fn bench() -> Bench {
    let bench = Bench::new(Service::new());
    bench
        .service
        .on_result("get_info", json!({ "network": "regtest", "block_height": HEIGHT, "methods": [] }));
    bench
}

async fn status(bench: &Bench) -> Result<Option<InvoiceStatus>, WalletError> {
    within(bench.wallet.invoice_status(hash())).await
}

async fn settle(bench: &Bench) -> Result<(), WalletError> {
    within(bench.wallet.hold_invoice_settle(preimage())).await
}

async fn cancel(bench: &Bench) -> Result<(), WalletError> {
    within(bench.wallet.hold_invoice_cancel(hash())).await
}

#[tokio::test]
async fn the_state_of_a_hold_invoice_is_what_its_record_and_the_height_say() {
    let bench = bench();
    let held = |minutes: Option<u64>| {
        InvoiceStatus::Held(HeldPayment {
            payment_hash: hash(),
            amount: Msats::new(21_000).unwrap(),
            held_until: minutes.map(|minutes| start() + Duration::from_mins(minutes)),
        })
    };
    for (state, deadline, expected) in [
        ("pending", None, InvoiceStatus::Pending),
        ("accepted", None, held(None)),
        // 26 blocks of two minutes, and 15 to be safe.
        ("accepted", Some(HEIGHT + 41), held(Some(52))),
        ("accepted", Some(HEIGHT + 3), held(Some(0))),
        // It has gone back, and Alby Hub does not know.
        ("accepted", Some(HEIGHT), InvoiceStatus::Expired),
        ("accepted", Some(HEIGHT - 1), InvoiceStatus::Expired),
        ("failed", Some(HEIGHT + 41), InvoiceStatus::Expired),
        // Held or cancelled: the invoice has expired, so that Alby Hub does not say.
        ("expired", Some(HEIGHT + 41), InvoiceStatus::Pending),
        ("expired", Some(HEIGHT), InvoiceStatus::Expired),
        ("expired", None, InvoiceStatus::Expired),
    ] {
        bench.service.on_result("lookup_invoice", record(state, deadline));
        assert_eq!(status(&bench).await.unwrap(), Some(expected), "{state} {deadline:?}");
    }
}

#[tokio::test]
async fn a_deadline_without_a_height_says_nothing() {
    let bench = bench();
    bench.service.on_result("get_info", json!({ "network": "regtest" }));
    bench.service.on_result("lookup_invoice", record("accepted", Some(HEIGHT)));
    let Ok(Some(InvoiceStatus::Held(held))) = status(&bench).await else { panic!() };
    assert_eq!(held.held_until, None);
    bench.service.on_error("get_info", "INTERNAL");
    assert!(matches!(status(&bench).await, Err(WalletError::Unavailable(_))));
    assert!(matches!(settle(&bench).await, Err(WalletError::Unavailable(_))));
    assert!(bench.service.calls("settle_hold_invoice").is_empty());
}

/// Alby Hub on LDK would answer with success, and have nothing.
#[tokio::test]
async fn the_preimage_is_not_shown_after_the_deadline() {
    let bench = bench();
    bench.service.on_result("settle_hold_invoice", json!({}));
    for (state, deadline) in
        [("accepted", Some(HEIGHT)), ("expired", Some(HEIGHT)), ("failed", None), ("pending", None)]
    {
        bench.service.on_result("lookup_invoice", record(state, deadline));
        let settled = settle(&bench).await;
        assert!(matches!(settled, Err(WalletError::Refused(_))), "{state}: {settled:?}");
    }
    assert!(bench.service.calls("settle_hold_invoice").is_empty());
    bench.service.on_result("lookup_invoice", record("accepted", Some(HEIGHT + 1)));
    settle(&bench).await.unwrap();
    let params = &bench.service.calls("settle_hold_invoice")[0].params;
    assert_eq!(params, &json!({ "preimage": preimage().reveal() }));
}

#[tokio::test]
async fn what_alby_hub_says_after_the_invoice_has_expired_is_not_taken_for_an_end() {
    let bench = bench();
    bench.service.on_result("lookup_invoice", record("expired", Some(HEIGHT + 41)));
    // It may have failed, and it may have found nothing: it says the same.
    bench.service.on_error("settle_hold_invoice", "INTERNAL");
    assert!(matches!(settle(&bench).await, Err(WalletError::OutcomeUnknown(_))));
    bench.service.on_error("cancel_hold_invoice", "INTERNAL");
    assert!(matches!(cancel(&bench).await, Err(WalletError::OutcomeUnknown(_))));
    // Nothing is held, and nothing was settled.
    bench.service.on_error("cancel_hold_invoice", "NOT_FOUND");
    cancel(&bench).await.unwrap();
}

#[tokio::test]
async fn a_wallet_that_cancels_only_what_is_held_is_asked_again_later() {
    let bench = bench();
    bench.service.on_result("lookup_invoice", record("pending", None));
    bench.service.on_error("cancel_hold_invoice", "NOT_FOUND");
    assert!(matches!(cancel(&bench).await, Err(WalletError::Unavailable(_))));
    bench.service.on_result("cancel_hold_invoice", json!({}));
    cancel(&bench).await.unwrap();
}

#[tokio::test]
async fn a_settlement_is_looked_up_after_any_error() {
    for (code, after, expected) in [
        ("INTERNAL", "settled", true),
        ("NOT_IMPLEMENTED", "settled", true),
        ("INTERNAL", "failed", false),
        ("SOMETHING_ELSE", "failed", false),
    ] {
        let bench = bench();
        bench.service.on("lookup_invoice", move |call| {
            let state = if call.nth == 0 { "accepted" } else { after };
            let mut record = record(state, Some(HEIGHT + 41));
            if state == "settled" {
                record["settled_at"] = json!(1_700_000_100);
            }
            Answer::Result(record)
        });
        bench.service.on_error("settle_hold_invoice", code);
        let settled = settle(&bench).await;
        assert_eq!(settled.is_ok(), expected, "{code}: {settled:?}");
        assert!(expected || matches!(settled, Err(WalletError::Refused(_))), "{code}: {settled:?}");
    }
}
