//! Single requests whose payment is held over a channel: the server is killed between the steps, and the payment is taken for an
//! answer that its proof has, or goes back.

use crate::books::account;
use crate::faults::Scene;
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_test_lightning::NwcFault;

/// A request that is offered for a hold invoice.
struct Offer {
    body: Value,
    invoice: Bolt11,
    sats: u64,
    /// What proves the payment, without its preimage.
    authorization: String,
    /// Where the payment can be read.
    at: String,
}

impl Offer {
    fn hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }
}

impl Scene {
    /// Asks for something that nobody pays for.
    async fn offered(&self, request: &str) -> Offer {
        let body = json!({ "request": request, "maxOutputTokens": 60 });
        let (status, unpaid) = self.shop.ask_proving(None, "/api/ask", Some(&body)).await;
        assert_eq!((status, &unpaid["offer"]["payment"]), (402, &json!("held")), "{unpaid}");
        let offer = &unpaid["offer"];
        Offer {
            invoice: offer["invoice"]["paymentRequest"].as_str().unwrap().parse().unwrap(),
            sats: offer["amountSats"].as_u64().unwrap(),
            authorization: offer["authorization"].as_str().unwrap().to_owned(),
            at: offer["links"]["payment"].as_str().unwrap().to_owned(),
            body,
        }
    }

    /// The payment was taken, once, and its proof has the answer: one answer, which is charged once. Returns what is refunded, in sats.
    async fn is_answered_and_charged(&self, offer: &Offer) -> u64 {
        let preimage = self.is_taken(&offer.invoice).await;
        let proof = offer.authorization.replace("<preimage>", &preimage.reveal());
        let (status, answer) = self.shop.ask_proving(Some(&proof), "/api/ask", Some(&offer.body)).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["result"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
        let again = self.shop.ask_proving(Some(&proof), "/api/ask", Some(&offer.body)).await;
        assert_eq!(again, (200, answer.clone()), "the proof has one answer");
        let (status, payment) = self.shop.ask_proving(Some(&proof), &offer.at, None).await;
        assert_eq!((status, &payment["state"]), (200, &json!("used")), "{payment}");
        assert_eq!(payment["paidMsats"], offer.sats * 1_000, "{payment}");
        let charged = payment["chargedMsats"].as_u64().unwrap();
        assert!(charged > 0, "{payment}");
        assert_eq!(answer["costMsats"], charged, "{answer}");
        let refund = (offer.sats * 1_000 - charged) / 1_000;
        assert_eq!(payment["refund"]["amountSats"], refund, "{payment}");
        refund
    }

    /// The answer is there, and the books have nothing but it.
    async fn ends_answered_and_charged(self, offer: &Offer) {
        let refund = self.is_answered_and_charged(offer).await;
        self.ends_owing(refund).await;
    }

    /// The customer has their payment, and has bought nothing with it: they ask again, and that is all that they pay for.
    async fn ends_unanswered(self, offer: &Offer) {
        self.is_given_back(&offer.invoice).await;
        let again = self.offered("Why is the sky blue?").await;
        assert_ne!(again.hash(), offer.hash());
        self.pay_held(&again.invoice).await;
        let refund = self.is_answered_and_charged(&again).await;
        self.ends_owing(refund).await;
    }

    /// Checks the books: so many sats are due, and nothing else of what was paid is left over.
    async fn ends_owing(self, refund: u64) {
        let audit = self.shop.json(&["audit", "--json"]);
        assert_eq!(account(&audit, "refunds_due"), i128::from(refund * 1_000), "{audit:#}");
        assert_eq!(audit["sessionsMsats"], "0", "{audit:#}");
        self.end().await;
    }
}

#[tokio::test]
async fn a_request_is_done_while_its_payment_is_held_and_a_failure_gives_the_payment_back() {
    let scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue? [sim:refuse]").await;
    scene.pay_held(&offer.invoice).await;
    scene.ends_unanswered(&offer).await;
}

#[tokio::test]
async fn a_held_payment_of_a_request_that_arrives_while_the_server_is_dead_buys_its_answer() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue?").await;
    scene.shop.server.kill();
    scene.pay_held(&offer.invoice).await;
    scene.shop.server.restart().unwrap();
    scene.ends_answered_and_charged(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_at_a_held_request_leaves_the_payment_held_and_it_is_done_again() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue? [sim:slow=100]").await;
    scene.pay_held(&offer.invoice).await;
    scene.logged("payment held").await;
    scene.shop.server.kill();
    scene.is_held(offer.hash());
    scene.shop.server.restart().unwrap();
    scene.ends_answered_and_charged(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_the_payment_of_a_request_is_taken_takes_it_later() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue?").await;
    scene.wallet_faults().set("settle_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer.invoice).await;
    // That it is to be taken is committed.
    scene.logged("the held payment was not settled").await;
    scene.shop.server.kill();
    scene.is_held(offer.hash());
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    scene.ends_answered_and_charged(&offer).await;
}

#[tokio::test]
async fn a_payment_of_a_request_that_the_wallet_has_taken_when_the_server_is_killed_is_credited() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue?").await;
    scene.wallet_faults().set_once("settle_hold_invoice", NwcFault::ResponseSwallowed);
    scene.pay_held(&offer.invoice).await;
    // The customer has paid; the server may not know.
    assert!(scene.payment_ends(offer.hash()).await.is_some());
    scene.killed_and_restarted();
    scene.ends_answered_and_charged(&offer).await;
}

#[tokio::test]
async fn a_server_that_is_killed_before_the_payment_of_a_request_is_given_back_gives_it_back_later() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue? [sim:refuse]").await;
    scene.wallet_faults().set("cancel_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer.invoice).await;
    scene.logged("the held payment was not cancelled").await;
    scene.shop.server.kill();
    scene.is_held(offer.hash());
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    scene.ends_unanswered(&offer).await;
}

#[tokio::test]
async fn a_payment_of_a_request_that_the_wallet_has_given_back_when_the_server_is_killed_ends_the_offer() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue? [sim:refuse]").await;
    scene.wallet_faults().set_once("cancel_hold_invoice", NwcFault::ResponseSwallowed);
    scene.pay_held(&offer.invoice).await;
    assert!(scene.payment_ends(offer.hash()).await.is_none());
    scene.killed_and_restarted();
    scene.ends_unanswered(&offer).await;
}

#[tokio::test]
async fn an_answer_is_not_delivered_if_its_payment_goes_back_by_itself_while_the_server_is_dead() {
    let mut scene = Scene::holding().await;
    let offer = scene.offered("Why is the sky blue?").await;
    scene.wallet_faults().set("settle_hold_invoice", NwcFault::Error("INTERNAL"));
    scene.pay_held(&offer.invoice).await;
    scene.logged("the held payment was not settled").await;
    scene.shop.server.kill();
    scene.goes_back_by_itself(offer.hash()).await;
    scene.wallet_faults().clear();
    scene.shop.server.restart().unwrap();
    scene.ends_unanswered(&offer).await;
}
