//! Destinations that a refund is not paid to. Nothing changes then.

use super::refunds::{Owed, invoice_of};
use crate::app::{Options, TestApp};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lnurl::Destinations;

/// From BOLT 11's own examples: "Please send $3 for a cup of coffee", 2500 `µBTC` on mainnet.
const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

#[tokio::test]
async fn unsuitable_destinations_are_named_and_change_nothing() {
    let app = TestApp::new();
    let (owed, other) = (Owed::job(&app).await, Owed::job(&app).await);
    let before = owed.refund(&app).await;
    let good = owed.invoice(&app).await.request;
    let (more, less) = (invoice_of(&app, owed.payable + 1).await, invoice_of(&app, owed.payable - 1).await);
    let amount = |given: u64| {
        let expected = owed.payable * 1_000;
        format!("invoice: wrong amount: expected {expected} msat, got {} msat", given * 1_000)
    };
    let mut changed = good.clone();
    changed.replace_range(30..31, if &good[30..31] == "q" { "p" } else { "q" });
    let several = "invoice: several destinations: expected one of invoice, lightningAddress and sessionId";
    let no_address = "lightningAddress: invalid Lightning address: expected name@host, got ";
    let no_invoice = "invoice: invalid BOLT11 payment request";
    for (body, detail) in [
        (json!({ "invoice": more.request }), amount(owed.payable + 1).as_str()),
        (json!({ "invoice": less.request }), &amount(owed.payable - 1)),
        (json!({ "invoice": COFFEE }), "invoice: wrong network: expected regtest, got mainnet"),
        (json!({ "invoice": "lnbc1garbage" }), no_invoice),
        (json!({ "invoice": changed }), no_invoice),
        (json!({ "invoice": "" }), no_invoice),
        (json!({ "invoice": format!("{good}{good}") }), no_invoice),
        (json!({ "invoice": "alice@example.com" }), no_invoice),
        (json!({ "invoice": 5 }), "invoice: invalid type"),
        (json!({}), "invoice: missing: expected invoice, lightningAddress or sessionId"),
        (json!({ "lightningaddress": "alice@example.com" }), "invoice: missing"),
        (json!({ "invoice": null, "lightningAddress": null }), "invoice: missing"),
        (json!({ "invoice": good, "lightningAddress": "alice@example.com" }), several),
        (json!({ "lightningAddress": "alice" }), no_address),
        (json!({ "lightningAddress": "" }), no_address),
        (json!({ "lightningAddress": good }), no_address),
        (json!({ "lightningAddress": "alice@example.com/../../admin" }), no_address),
        (json!({ "lightningAddress": ["alice@example.com"] }), "lightningAddress: invalid type"),
        (json!({ "sessionId": "alice" }), "sessionId: malformed session id: expected a UUID, got \"alice\""),
        (json!({ "sessionId": "" }), "sessionId: malformed session id"),
        (json!({ "sessionId": good, "invoice": good }), several),
        (json!({ "sessionId": "", "lightningAddress": "" }), several),
    ] {
        let refused = owed.claim(&app, &body).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with(detail), "{body}: {}", refused.detail());
    }
    for body in ["", "{", "[]", "null"] {
        let request = app.request(reqwest::Method::POST, &format!("{}/refund", owed.path)).body(body);
        let request = request.header("Authorization", format!("Bearer {}", owed.token));
        assert_eq!(app.send(request).await.status, 400, "{body}");
    }
    assert_eq!(owed.refund(&app).await, before);
    // What other programs put around an invoice is no mistake.
    let upper = format!(" LIGHTNING:{}\n", good.to_uppercase());
    owed.claim(&app, &json!({ "invoice": upper })).await.ok(202);
    owed.until_paid(&app).await;
    // An invoice is paid once, whatever it is for.
    assert_eq!(other.payable, owed.payable);
    let refused = other.claim(&app, &json!({ "invoice": good })).await;
    refused.is_problem(400, "invalid_field");
    assert!(refused.detail().starts_with("invoice: the invoice was used before"), "{}", refused.detail());
}

#[tokio::test]
async fn an_invoice_that_has_expired_or_is_about_to_is_refused() {
    let app = TestApp::with(Options { manual_clock: true, ..Options::default() });
    let owed = Owed::job(&app).await;
    let before = owed.refund(&app).await;
    let invoice = owed.invoice(&app).await;
    // An invoice of this wallet is payable for an hour.
    for minutes in [0, 1] {
        let left = if minutes == 0 { Duration::from_secs(3_600 - 50) } else { Duration::from_mins(2) };
        app.clock.advance(left);
        let refused = owed.claim_to(&app, &invoice).await;
        refused.is_problem(400, "invalid_field");
        assert!(
            refused.detail().starts_with("invoice: expires too early: expected "),
            "{}",
            refused.detail()
        );
    }
    assert_eq!(owed.refund(&app).await, before);
}

#[tokio::test]
async fn nothing_is_claimed_of_what_is_not_there() {
    let app = TestApp::new();
    let owed = Owed::job(&app).await;
    let body = json!({ "invoice": owed.invoice(&app).await.request });
    let post = |id: &str| format!("/api/jobs/{id}/refund");
    let unknown = "00000000-0000-4000-8000-000000000000";
    app.post(&post(unknown), body.to_string()).await.is_problem(404, "not_found");
    for id in ["nothing", "00000000-0000-0000-0000-00000000000g"] {
        app.post(&post(id), body.to_string()).await.is_problem(400, "invalid_field");
    }
    // A job that waits, one that was rejected, and one that was completed without anything left.
    let created = app.job_ask("[sim:reject] no").await.ok(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let id = text(&created["jobId"]);
    let nothing = Owed { path: format!("/api/jobs/{id}"), token: text(&created["claimToken"]), payable: 0 };
    nothing.claim(&app, &body).await.is_problem(409, "nothing_due");
    app.pay(&text(&created["evalInvoice"]["paymentHash"])).await;
    app.job_reaches(&id, "rejected").await;
    nothing.claim(&app, &body).await.is_problem(409, "nothing_due");
    // Strangers learn nothing about what is due.
    app.post(&post(&id), body.to_string()).await.is_problem(401, "invalid_claim_token");
    assert_eq!(nothing.refund(&app).await, json!({ "state": "not_applicable", "amountSats": 0 }));
}

#[tokio::test]
async fn addresses_in_a_private_network_are_refused_without_connecting() {
    let app = TestApp::with(Options { webhooks: Destinations::Public, ..Options::default() });
    let owed = Owed::job(&app).await;
    let before = owed.refund(&app).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let local = listener.local_addr().unwrap();
    for address in [
        &format!("alice@{local}"),
        "alice@127.0.0.1",
        "alice@localhost",
        "alice@10.0.0.1",
        "alice@192.168.1.1",
        "alice@169.254.169.254",
        "alice@0x7f000001",
        "alice@2130706433",
        "alice@example.com:8080",
        "alice@abcdefghij234567.onion",
    ] {
        let destination = json!({ "lightningAddress": address });
        let refused = owed.claim(&app, &destination).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with("lightningAddress: "), "{address}: {}", refused.detail());
        let body = json!({ "amountSats": 500, "returnTo": destination });
        let refused = app.post("/api/sessions", body.to_string()).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().contains("lightningAddress: "), "{address}: {}", refused.detail());
    }
    let connected = listener.accept();
    assert_eq!(connected.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody has connected");
    assert_eq!(owed.refund(&app).await, before);
}
