//! Jobs whose payment is held over a channel: the server is killed between the steps, and the payment is taken for work that is
//! delivered, or goes back.

use crate::customer::Bought;
use crate::faults::Scene;
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_test_lightning::NwcFault;

/// A job whose work is offered for a hold invoice.
struct Offer {
    job: Bought,
    invoice: Bolt11,
}

impl Offer {
    fn hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }
}

impl Scene {
    /// A job whose evaluation is paid.
    async fn offer(&self, request: &str) -> Offer {
        let customer = self.customer();
        let body = json!({ "request": request, "payment": "held" });
        let (status, created) = self.shop.post("/api/jobs", None, &body).await;
        assert_eq!(status, 201, "{created}");
        let job = Bought {
            path: format!("/api/jobs/{}", created["jobId"].as_str().unwrap()),
            secret: created["claimToken"].as_str().unwrap().to_owned(),
            paid_sats: customer.pay(&created["evalInvoice"]).await,
        };
        let offer = customer.seen(&job, "its price", |job| job["state"] == "awaiting_work_payment").await;
        assert_eq!(offer["payment"], "held", "{offer}");
        let invoice = offer["workInvoice"]["paymentRequest"].as_str().unwrap().parse().unwrap();
        Offer { job, invoice }
    }

    async fn ended(&self, offer: &Offer) -> Value {
        let is_over = |job: &Value| job["state"] == "complete" || job["state"] == "failed";
        self.customer().seen(&offer.job, "its end", is_over).await
    }

    /// The work is delivered, and its payment was taken, once.
    async fn ends_delivered_and_paid(self, offer: &Offer) {
        let done = self.ended(offer).await;
        assert_eq!((&done["state"], &done["payment"]), (&json!("complete"), &json!("held")), "{done}");
        assert!(done["result"].as_str().is_some_and(|text| !text.is_empty()), "{done}");
        self.is_taken(&offer.invoice).await;
        self.end().await;
    }

    /// The work is not delivered, and the customer has their payment.
    async fn ends_given_back(self, offer: &Offer) -> String {
        let failed = self.ended(offer).await;
        assert_eq!(failed["state"], "failed", "{failed}");
        assert!(failed.get("result").is_none_or(Value::is_null), "{failed}");
        self.is_given_back(&offer.invoice).await;
        self.end().await;
        failed["errorMessage"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_held_payment_that_arrives_while_the_server_is_dead_buys_the_work() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.shop.server.kill();
    scene.pay_held(&offer.invoice).await;
    scene.shop.server.restart().unwrap();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_at_held_work_leaves_the_payment_held_and_the_work_is_done_again() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue? [sim:slow=300]").await;
    scene.pay_held(&offer.invoice).await;
    scene.customer().seen(&offer.job, "its work", |job| job["state"] == "executing").await;
    scene.shop.server.kill();
    scene.is_held(offer.hash());
    scene.shop.server.restart().unwrap();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_a_held_payment_is_taken_takes_it_later() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.wallet_faults().set("settle_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer.invoice).await;
    scene.logged("the held payment was not settled").await;
    let waiting = scene.customer().read(&offer.job).await;
    assert_eq!(waiting["state"], "executing", "{waiting}");
    assert!(waiting.get("result").is_none(), "nothing is delivered before it is paid for: {waiting}");
    scene.shop.server.kill();
    scene.is_held(offer.hash());
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_held_payment_that_the_wallet_has_taken_when_the_server_is_killed_is_credited() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.wallet_faults().set_once("settle_hold_invoice", NwcFault::ResponseSwallowed);
    scene.pay_held(&offer.invoice).await;
    // The customer has paid; the server may not know.
    assert!(scene.payment_ends(offer.hash()).await.is_some());
    scene.killed_and_restarted();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_a_held_payment_ends_given_back_gives_it_back_later() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue? [sim:refuse]").await;
    scene.wallet_faults().set("cancel_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer.invoice).await;
    scene.logged("the held payment was not cancelled").await;
    scene.shop.server.kill();
    scene.is_held(offer.hash());
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    let message = scene.ends_given_back(&offer).await;
    assert!(message.ends_with("The payment for it was not taken."), "{message}");
}

#[tokio::test]
async fn a_held_payment_that_the_wallet_has_given_back_when_the_server_is_killed_ends_the_job() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue? [sim:refuse]").await;
    scene.wallet_faults().set_once("cancel_hold_invoice", NwcFault::ResponseSwallowed);
    scene.pay_held(&offer.invoice).await;
    assert!(scene.payment_ends(offer.hash()).await.is_none());
    scene.killed_and_restarted();
    scene.ends_given_back(&offer).await;
}

#[tokio::test]
async fn work_is_not_delivered_if_its_payment_goes_back_by_itself_while_the_server_is_dead() {
    let mut scene = Scene::holding().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.wallet_faults().set("settle_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer.invoice).await;
    scene.logged("the held payment was not settled").await;
    scene.shop.server.kill();
    scene.goes_back_by_itself(offer.hash()).await;
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    let message = scene.ends_given_back(&offer).await;
    assert!(message.contains("Nothing was paid"), "{message}");
}
