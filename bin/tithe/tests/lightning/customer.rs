//! A customer with a Lightning node of their own.

use crate::patience::{SOON, until};
use crate::shop::Shop;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_money::{Msats, Sats};
use tithe_test_lightning::{LightningNode, PayTerms};

/// The customer of a shop.
#[derive(Clone, Copy)]
pub(crate) struct Customer<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) node: &'a LightningNode,
}

/// Something that was bought: a job or a session.
pub(crate) struct Bought {
    /// Its path.
    pub(crate) path: String,
    /// The claim token, or the macaroon.
    pub(crate) secret: String,
    /// What was paid for it, in sats, without routing fees.
    pub(crate) paid_sats: u64,
}

impl Bought {
    /// Its account in the ledger.
    pub(crate) fn account(&self) -> String {
        let parts: Vec<&str> = self.path.rsplit('/').collect();
        format!("{}:{}", parts[1].trim_end_matches('s'), parts[0])
    }
}

impl Customer<'_> {
    /// Pays an invoice of the server over the channel; returns the amount in sats.
    pub(crate) async fn pay(&self, invoice: &Value) -> u64 {
        let bolt11: Bolt11 = invoice["paymentRequest"].as_str().unwrap().parse().unwrap();
        let paid = self.node.pay(&bolt11, PayTerms::default()).await.unwrap();
        assert!(paid.succeeded().is_some(), "{paid:?}");
        let sats = invoice["amountSats"].as_u64().unwrap();
        assert_eq!(bolt11.amount().map(Msats::get), Some(sats * 1_000), "{invoice}");
        sats
    }

    /// Buys a job, and waits until the work is done.
    pub(crate) async fn buy_job(&self, request: &str) -> (Bought, Value) {
        let (status, created) = self.shop.post("/api/jobs", None, &json!({ "request": request })).await;
        assert_eq!(status, 201, "{created}");
        let mut job = Bought {
            path: format!("/api/jobs/{}", created["jobId"].as_str().unwrap()),
            secret: created["claimToken"].as_str().unwrap().to_owned(),
            paid_sats: self.pay(&created["evalInvoice"]).await,
        };
        let offer = self.seen(&job, "its price", |job| job["state"] == "awaiting_work_payment").await;
        job.paid_sats += self.pay(&offer["workInvoice"]).await;
        let done = self.seen(&job, "its end", |job| job["refund"].is_object()).await;
        (job, done)
    }

    /// Opens a session, and waits until the deposit is credited.
    pub(crate) async fn open_session(&self, sats: u64) -> Bought {
        let (status, created) = self.shop.post("/api/sessions", None, &json!({ "amountSats": sats })).await;
        assert_eq!(status, 201, "{created}");
        let session = Bought {
            path: format!("/api/sessions/{}", created["sessionId"].as_str().unwrap()),
            secret: created["macaroon"].as_str().unwrap().to_owned(),
            paid_sats: self.pay(&created["invoice"]).await,
        };
        let open = self.seen(&session, "its deposit", |session| session["state"] == "active").await;
        assert_eq!(open["balanceMsats"], sats * 1_000, "{open}");
        session
    }

    /// Closes a session; returns what is refunded.
    pub(crate) async fn close(&self, session: &Bought) -> Value {
        let (status, closed) =
            self.shop.post(&format!("{}/close", session.path), Some(&session.secret), &json!({})).await;
        assert_eq!((status, &closed["refund"]["state"]), (202, &json!("pending")), "{closed}");
        closed["refund"].clone()
    }

    /// An invoice for exactly what can be paid of a refund.
    pub(crate) fn invoice(&self, refund: &Value) -> Bolt11 {
        let payable = refund["payableSats"].as_u64().unwrap();
        let left = refund["dueSats"].as_u64().unwrap() - refund["feeLimitSats"].as_u64().unwrap();
        assert!(payable > 0 && payable == left, "{refund}");
        self.invoice_over(payable)
    }

    /// An invoice of the customer's node.
    pub(crate) fn invoice_over(&self, sats: u64) -> Bolt11 {
        let amount = Sats::new(sats).unwrap().to_msats();
        self.node.create_invoice(Some(amount), "a refund", Duration::from_hours(1)).unwrap()
    }

    /// Names an invoice that the refund is to be paid to.
    pub(crate) async fn claim(&self, bought: &Bought, invoice: &Bolt11) -> Value {
        let (status, answer) = self.try_to_claim(bought, invoice).await;
        assert_eq!(status, 202, "{answer}");
        answer["refund"].clone()
    }

    /// The same, which the server may refuse: returns the status with the answer.
    pub(crate) async fn try_to_claim(&self, bought: &Bought, invoice: &Bolt11) -> (u16, Value) {
        let to = json!({ "invoice": invoice.as_str() });
        let (path, body) = if bought.path.starts_with("/api/jobs/") {
            ("refund", to)
        } else {
            ("close", json!({ "returnTo": to }))
        };
        let path = format!("{}/{path}", bought.path);
        self.shop.post(&path, Some(&bought.secret), &body).await
    }

    /// Waits until the server says that the refund is paid.
    pub(crate) async fn refunded(&self, bought: &Bought, limit: Duration) -> Value {
        until("the refund is paid", limit, async || {
            let refund = self.read(bought).await["refund"].clone();
            (refund["state"] == "paid").then_some(refund)
        })
        .await
    }

    /// Checks that a refund has arrived at the node, and returns it in sats.
    pub(crate) async fn arrived(&self, invoice: &Bolt11) -> u64 {
        let received = self.node.received(invoice.payment_hash()).await.unwrap().received.unwrap();
        assert_eq!(Some(received.amount), invoice.amount());
        received.amount.to_sats_rounding_down().get()
    }

    /// Whether a refund has arrived.
    pub(crate) fn has(&self, hash: PaymentHash) -> bool {
        self.node.incoming(hash).is_some_and(|payment| payment.received.is_some())
    }

    pub(crate) async fn read(&self, bought: &Bought) -> Value {
        // The claim token of a job is for its refund only.
        let macaroon = bought.path.starts_with("/api/sessions/").then_some(bought.secret.as_str());
        self.shop.get(&bought.path, macaroon).await
    }

    /// Reads what was bought until it looks right.
    pub(crate) async fn seen(&self, bought: &Bought, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(SOON, async {
            until(what, SOON * 2, async || {
                last = self.read(bought).await;
                is(&last).then(|| last.clone())
            })
            .await
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{} waits for {what}: {last}", bought.path))
    }
}
