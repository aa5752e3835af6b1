//! Refunds that are paid to a Lightning address.

use super::refunds::{Owed, invoice_of};
use crate::app::TestApp;
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A host with the address `alice`.
pub(super) struct Host {
    server: MockServer,
}

impl Host {
    pub(super) async fn start() -> Self {
        Self { server: MockServer::start().await }
    }

    pub(super) fn address(&self) -> String {
        format!("alice@{}", self.server.address())
    }

    /// The address works, and gives this invoice for this amount.
    pub(super) async fn gives(&self, sats: u64, invoice: &str) {
        let reply = json!({
            "tag": "payRequest",
            "callback": format!("{}/pay", self.server.uri()),
            "minSendable": 1_000,
            "maxSendable": 100_000_000,
            "metadata": r#"[["text/plain","Payment to alice"]]"#,
        });
        self.answers("/.well-known/lnurlp/alice", &reply).await;
        let callback = Mock::given(path("/pay")).and(query_param("amount", (sats * 1_000).to_string()));
        let invoice = ResponseTemplate::new(200).set_body_json(json!({ "pr": invoice, "routes": [] }));
        callback.respond_with(invoice).mount(&self.server).await;
    }

    async fn answers(&self, at: &str, reply: &Value) {
        let response = ResponseTemplate::new(200).set_body_json(reply);
        Mock::given(path(at)).respond_with(response).mount(&self.server).await;
    }

    /// How many requests there were.
    pub(super) async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

#[tokio::test]
async fn a_lightning_address_is_asked_for_an_invoice_and_paid() {
    let app = TestApp::new();
    let (owed, host) = (Owed::job(&app).await, Host::start().await);
    let invoice = owed.invoice(&app).await;
    host.gives(owed.payable, &invoice.request).await;
    let claimed = owed.claim(&app, &json!({ "lightningAddress": host.address() })).await.ok(202);
    assert_eq!(claimed["refund"]["hasDestination"], true, "{claimed}");
    let paid = owed.until_paid(&app).await;
    assert_eq!(paid["paymentHash"], invoice.hash);
    assert_eq!(paid["payableSats"], Value::Null);
    assert_eq!(host.requests().await, 2, "one for the address, one for the invoice");
    let again = owed.claim(&app, &json!({ "lightningAddress": host.address() })).await;
    assert_eq!(again.ok(202)["refund"], paid, "asking again is safe");
    assert_eq!(host.requests().await, 2);
    owed.claim_to(&app, &invoice_of(&app, owed.payable).await).await.is_problem(409, "nothing_due");
}

#[tokio::test]
async fn an_address_that_cannot_be_paid_is_said_and_another_destination_is_paid() {
    let app = TestApp::new();
    let (owed, host) = (Owed::job(&app).await, Host::start().await);
    // It knows no such name.
    owed.claim(&app, &json!({ "lightningAddress": host.address() })).await.ok(202);
    let problem = owed.until(&app, |refund| refund["problem"].is_string()).await;
    assert_eq!(
        (&problem["state"], &problem["hasDestination"]),
        (&json!("pending"), &json!(false)),
        "{problem}"
    );
    assert!(problem["problem"].as_str().unwrap().contains("does not know the address"), "{problem}");

    // It gives an invoice that demands more than was asked for.
    let more = invoice_of(&app, owed.payable + 1).await;
    host.gives(owed.payable, &more.request).await;
    owed.claim(&app, &json!({ "lightningAddress": host.address() })).await.ok(202);
    let problem = owed.until(&app, |refund| refund["problem"].is_string()).await;
    assert!(problem["problem"].as_str().unwrap().contains("amount"), "{problem}");
    assert_eq!((&problem["state"], &problem["payableSats"]), (&json!("pending"), &json!(owed.payable)));

    let invoice = owed.invoice(&app).await;
    owed.claim_to(&app, &invoice).await.ok(202);
    let paid = owed.until_paid(&app).await;
    assert_eq!((&paid["paymentHash"], &paid["problem"]), (&json!(invoice.hash), &Value::Null), "{paid}");
}
