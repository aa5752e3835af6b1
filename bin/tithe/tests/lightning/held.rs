//! Jobs whose payment is held over a channel: the server is killed between the steps, and the payment is taken for work that is
//! delivered, or goes back.

use crate::customer::Bought;
use crate::faults::Scene;
use crate::merchant::{Merchant, Wallet};
use crate::patience::{SOON, until};
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_test_lightning::{LightningPair, NwcFault, NwcFaults, OutgoingState, PayTerms};
use tokio::time::timeout;

/// A server that takes over soon from one that was killed.
const SETTINGS: &[(&str, &str)] = &[("TITHE_LEASE_SECONDS", "4")];

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

async fn scene() -> Scene {
    let pair = LightningPair::start().await.unwrap();
    let merchant = Merchant::nwc(pair.merchant()).await;
    Scene::with(pair, merchant, SETTINGS)
}

impl Scene {
    fn wallet_faults(&self) -> NwcFaults {
        let Wallet::Nwc { service, .. } = &self.merchant.wallet else { unreachable!() };
        service.faults().clone()
    }

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

    /// The customer's node pays, and the merchant's node holds the payment.
    async fn pay_held(&self, offer: &Offer) {
        self.pair.customer().pay_start(&offer.invoice, PayTerms::default()).unwrap();
        self.merchant.node.arrived(offer.hash()).await.unwrap();
    }

    /// What the customer's node says of the payment.
    fn payment(&self, offer: &Offer) -> OutgoingState {
        self.pair.customer().payment_status(offer.hash()).unwrap().state
    }

    /// The end of the payment: whether the customer has paid.
    async fn payment_ends(&self, offer: &Offer) -> bool {
        let id = self.pair.customer().payment_status(offer.hash()).unwrap().id;
        let ended = timeout(SOON, self.pair.customer().paid(id)).await.unwrap().unwrap();
        match ended.state {
            OutgoingState::Succeeded { preimage, .. } => {
                assert_eq!(preimage.payment_hash(), offer.hash());
                true
            }
            _ => false,
        }
    }

    /// Waits until a server has logged this.
    async fn logged(&self, what: &str) {
        let log = self.shop.folder().join("server.log");
        until(what, SOON, async || std::fs::read_to_string(&log).unwrap().contains(what).then_some(())).await;
    }

    fn killed_and_restarted(&mut self) {
        self.shop.server.kill();
        self.shop.server.restart().unwrap();
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
        assert!(self.payment_ends(offer).await);
        let received = self.merchant.node.incoming(offer.hash()).unwrap().received.unwrap();
        assert_eq!(Some(received.amount), offer.invoice.amount());
        self.end().await;
    }

    /// The work is not delivered, and the customer has their payment.
    async fn ends_given_back(self, offer: &Offer) -> String {
        let failed = self.ended(offer).await;
        assert_eq!(failed["state"], "failed", "{failed}");
        assert!(failed.get("result").is_none_or(Value::is_null), "{failed}");
        assert!(!self.payment_ends(offer).await);
        assert!(self.merchant.node.incoming(offer.hash()).unwrap().received.is_none());
        self.end().await;
        failed["errorMessage"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_held_payment_that_arrives_while_the_server_is_dead_buys_the_work() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.shop.server.kill();
    scene.pay_held(&offer).await;
    scene.shop.server.restart().unwrap();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_at_held_work_leaves_the_payment_held_and_the_work_is_done_again() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue? [sim:slow=300]").await;
    scene.pay_held(&offer).await;
    scene.customer().seen(&offer.job, "its work", |job| job["state"] == "executing").await;
    scene.shop.server.kill();
    assert!(matches!(scene.payment(&offer), OutgoingState::InFlight));
    scene.shop.server.restart().unwrap();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_a_held_payment_is_taken_takes_it_later() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.wallet_faults().set("settle_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer).await;
    scene.logged("the held payment was not settled").await;
    let waiting = scene.customer().read(&offer.job).await;
    assert_eq!(waiting["state"], "executing", "{waiting}");
    assert!(waiting.get("result").is_none(), "nothing is delivered before it is paid for: {waiting}");
    scene.shop.server.kill();
    assert!(matches!(scene.payment(&offer), OutgoingState::InFlight));
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_held_payment_that_the_wallet_has_taken_when_the_server_is_killed_is_credited() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.wallet_faults().set_once("settle_hold_invoice", NwcFault::ResponseSwallowed);
    scene.pay_held(&offer).await;
    // The customer has paid; the server may not know.
    assert!(scene.payment_ends(&offer).await);
    scene.killed_and_restarted();
    scene.ends_delivered_and_paid(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_a_held_payment_ends_given_back_gives_it_back_later() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue? [sim:refuse]").await;
    scene.wallet_faults().set("cancel_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer).await;
    scene.logged("the held payment was not cancelled").await;
    scene.shop.server.kill();
    assert!(matches!(scene.payment(&offer), OutgoingState::InFlight));
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    let message = scene.ends_given_back(&offer).await;
    assert!(message.ends_with("The payment for it was not taken."), "{message}");
}

#[tokio::test]
async fn a_held_payment_that_the_wallet_has_given_back_when_the_server_is_killed_ends_the_job() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue? [sim:refuse]").await;
    scene.wallet_faults().set_once("cancel_hold_invoice", NwcFault::ResponseSwallowed);
    scene.pay_held(&offer).await;
    assert!(!scene.payment_ends(&offer).await);
    scene.killed_and_restarted();
    scene.ends_given_back(&offer).await;
}

#[tokio::test]
async fn work_is_not_delivered_if_its_payment_goes_back_by_itself_while_the_server_is_dead() {
    let mut scene = scene().await;
    let offer = scene.offer("Why is the sky blue?").await;
    scene.wallet_faults().set("settle_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer).await;
    scene.logged("the held payment was not settled").await;
    scene.shop.server.kill();
    let hold = scene.merchant.node.incoming(offer.hash()).unwrap().hold.unwrap();
    let left = hold.claim_deadline.unwrap() - scene.merchant.node.block_height();
    scene.pair.chain().mine(left.try_into().unwrap());
    assert!(!scene.payment_ends(&offer).await);
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    let message = scene.ends_given_back(&offer).await;
    assert!(message.contains("Nothing was paid"), "{message}");
}
