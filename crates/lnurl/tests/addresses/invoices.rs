//! The invoices that services return.

use crate::host::{Host, METADATA, assert_refused, assert_unavailable, invoice};
use serde_json::json;
use tithe_lightning::Network;
use tithe_lightning::lightning_invoice::Currency;
use tithe_money::Msats;
use wiremock::ResponseTemplate;

#[tokio::test]
async fn the_invoice_of_the_address_is_returned() {
    let text = invoice(Currency::Regtest, Some(21_000), Some(METADATA));
    let host = Host::invoice(&text).await;
    let found = host.ask().await.unwrap();
    assert_eq!(found.as_str(), text);
    assert_eq!(found.network(), Network::Regtest);
    assert_eq!(found.amount(), Some(Msats::new(21_000).unwrap()));
    // Neither a comment nor data of the payer is sent, though the service takes both.
    let requested = ["/.well-known/lnurlp/alice", "/pay/alice?session=1&amount=21000"];
    assert_eq!(host.requested().await, requested);
}

#[tokio::test]
async fn an_invoice_need_not_commit_to_the_metadata() {
    for metadata in [None, Some("[[\"text/plain\",\"Payment to bob\"]]")] {
        let host = Host::invoice(&invoice(Currency::Regtest, Some(21_000), metadata)).await;
        assert!(host.ask().await.is_ok(), "{metadata:?}");
    }
}

#[tokio::test]
async fn an_invoice_in_upper_case_is_the_same_invoice() {
    let text = invoice(Currency::Regtest, Some(21_000), None);
    let host = Host::invoice(&format!(" {}\n", text.to_uppercase())).await;
    assert_eq!(host.ask().await.unwrap().as_str(), text);
}

#[tokio::test]
async fn an_invoice_for_another_amount_is_refused() {
    for (msats, found) in [
        (Some(21_001), "got 21001 msat"),
        (Some(20_999), "got 20999 msat"),
        (Some(21_000_000), "got 21000000 msat"),
        (None, "got any amount"),
    ] {
        let host = Host::invoice(&invoice(Currency::Regtest, msats, Some(METADATA))).await;
        assert_refused(&host.ask().await, &format!("wrong amount: expected 21000 msat, {found}"));
    }
}

#[tokio::test]
async fn an_invoice_of_another_network_is_refused() {
    let host = Host::invoice(&invoice(Currency::Bitcoin, Some(21_000), Some(METADATA))).await;
    assert_refused(&host.ask().await, "wrong network: expected regtest, got mainnet");
}

#[tokio::test]
async fn what_is_no_invoice_is_unavailable() {
    let valid = invoice(Currency::Regtest, Some(21_000), None);
    let forged = format!("{}q", valid.strip_suffix(|_: char| true).unwrap());
    let long = format!("{valid}{}", "q".repeat(200_000));
    for text in ["", "lnbcrt", "lnbcrt210n1", &valid[1..], &forged, &long] {
        assert_unavailable(&Host::invoice(text).await.ask().await, "no valid invoice");
    }
    for reply in [json!({}), json!({"pr": null}), json!({"pr": [valid]}), json!({"invoice": valid})] {
        let host = Host::second(ResponseTemplate::new(200).set_body_json(reply)).await;
        assert_unavailable(&host.ask().await, "no valid invoice");
    }
    for body in ["", "<html></html>", "[]"] {
        let host = Host::second(ResponseTemplate::new(200).set_body_string(body)).await;
        assert_unavailable(&host.ask().await, "expected a JSON object");
    }
}

#[tokio::test]
async fn an_error_of_the_callback_may_pass() {
    for status in [200, 400] {
        let error = json!({"status": "ERROR", "reason": "the node is offline"});
        let host = Host::second(ResponseTemplate::new(status).set_body_json(error)).await;
        assert_unavailable(&host.ask().await, "the service refused: \"the node is offline\"");
    }
    for status in [404, 429, 500, 503] {
        let valid = json!({"pr": invoice(Currency::Regtest, Some(21_000), None)});
        let host = Host::second(ResponseTemplate::new(status).set_body_json(valid)).await;
        assert_unavailable(&host.ask().await, &format!("unexpected status {status}"));
    }
}
