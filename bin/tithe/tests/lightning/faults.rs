//! The wallet fails while a refund is paid: the customer is paid once, at once or later.

use crate::books::Before;
use crate::customer::{Bought, Customer};
use crate::merchant::{Merchant, Wallet};
use crate::patience::{SOON, until};
use crate::shop::Shop;
use serde_json::json;
use std::time::Duration;
use tithe_lightning::Bolt11;
use tithe_test_lightning::{Fault, LightningPair, NwcFault, OutgoingState, RequestKind};

/// How long it takes until a payment of which the wallet has no record is sent again, with time to spare.
const DOUBT: Duration = Duration::from_mins(10);

/// A merchant with a server, and a customer.
pub(crate) struct Scene {
    pub(crate) pair: LightningPair,
    pub(crate) merchant: Merchant,
    pub(crate) shop: Shop,
    before: Before,
}

impl Scene {
    pub(crate) async fn phoenixd() -> Self {
        let pair = LightningPair::start().await.unwrap();
        let merchant = Merchant::phoenixd(pair.merchant()).await;
        Self::of(pair, merchant)
    }

    pub(crate) async fn nwc() -> Self {
        let pair = LightningPair::start().await.unwrap();
        let merchant = Merchant::nwc(pair.merchant()).await;
        Self::of(pair, merchant)
    }

    pub(crate) fn of(pair: LightningPair, merchant: Merchant) -> Self {
        Self::with(pair, merchant, &[])
    }

    /// The same, with more settings of the server.
    pub(crate) fn with(pair: LightningPair, merchant: Merchant, more: &[(&'static str, &str)]) -> Self {
        let shop = Shop::open(&merchant.settings(), more);
        let before = Before::of(&merchant, pair.customer());
        Self { pair, merchant, shop, before }
    }

    pub(crate) const fn customer(&self) -> Customer<'_> {
        Customer { shop: &self.shop, node: self.pair.customer() }
    }

    /// A session that is closed unspent, with an invoice for what it had.
    pub(crate) async fn owed(&self) -> (Bought, Bolt11) {
        let customer = self.customer();
        let session = customer.open_session(5_000).await;
        let invoice = customer.invoice(&customer.close(&session).await);
        (session, invoice)
    }

    /// Waits until the refund is paid, and checks that it was paid once.
    pub(crate) async fn is_paid_once(&self, bought: &Bought, invoice: &Bolt11, limit: Duration) {
        let refund = self.customer().refunded(bought, limit).await;
        assert_eq!(refund["paymentHash"], invoice.payment_hash().to_string(), "{refund}");
        self.customer().arrived(invoice).await;
        let sent = self.merchant.node.outgoing_all().into_iter();
        let sent = sent.filter(|it| {
            it.hash() == invoice.payment_hash() && matches!(it.state, OutgoingState::Succeeded { .. })
        });
        assert_eq!(sent.count(), 1);
        let shown = self.shop.json(&["payouts", "show", &bought.account(), "--json"]);
        let payouts = shown["payouts"].as_array().unwrap();
        let paid = payouts.iter().filter(|payout| payout["state"] == "paid").count();
        assert_eq!((&shown["state"], paid), (&json!("paid"), 1), "{shown:#}");
    }

    /// Checks that nothing is lost or invented: the customer has lost what the merchant has gained.
    pub(crate) async fn end(self) {
        self.pair.settle().await.unwrap();
        let (audit, gain, loss) = self.before.check(&self.shop, &self.merchant, self.pair.customer());
        assert_eq!(gain, loss, "{audit:#}");
    }
}

#[tokio::test]
async fn a_refund_whose_payment_was_made_and_not_confirmed_by_phoenixd_is_paid_once() {
    let scene = Scene::phoenixd().await;
    for fault in [Fault::ResponseLost, Fault::FailedAfterwards(502), Fault::Garbled] {
        let (session, invoice) = scene.owed().await;
        scene.merchant.api().faults().set_once(RequestKind::Send, fault);
        scene.customer().claim(&session, &invoice).await;
        scene.is_paid_once(&session, &invoice, SOON).await;
    }
    scene.end().await;
}

#[tokio::test]
#[ignore = "takes twenty seconds: just test-lightning"]
async fn a_refund_whose_payment_was_made_and_never_answered_by_phoenixd_is_paid_once() {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    scene.merchant.api().faults().set_once(RequestKind::Send, Fault::ResponseWithheld);
    scene.customer().claim(&session, &invoice).await;
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

#[tokio::test]
async fn a_refund_that_phoenixd_has_turned_away_is_paid_later() {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    // Busy: nothing has happened.
    scene.merchant.api().faults().set(RequestKind::Send, Fault::Refused(429));
    scene.customer().claim(&session, &invoice).await;
    let refund = put_off(&scene, &session).await;
    assert!(!scene.customer().has(invoice.payment_hash()), "{refund}");
    scene.merchant.api().faults().clear();
    let retried = scene.shop.run(&["payouts", "retry", &session.account()]);
    assert!(retried.status.success(), "{}", crate::all_of(&retried));
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

#[tokio::test]
async fn a_refund_is_paid_once_phoenixd_runs_again() {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    scene.merchant.api().close().await.unwrap();
    scene.customer().claim(&session, &invoice).await;
    put_off(&scene, &session).await;
    scene.merchant.api().open().await.unwrap();
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

/// Waits until the customer is told that the payment is tried again.
pub(crate) async fn put_off(scene: &Scene, session: &Bought) -> serde_json::Value {
    let is_put_off = |session: &serde_json::Value| {
        let refund = &session["refund"];
        refund["state"] == "pending" && refund["problem"].is_string() && refund["hasDestination"] == true
    };
    let session = scene.customer().seen(session, "the refund to be put off", is_put_off).await;
    session["refund"].clone()
}

/// A request that is lost, and one that phoenixd has failed at: what became of the payment is not known. So it stays in flight, and
/// the ledger allows for both, until it is certain that nothing was sent; then the same invoice is paid.
async fn doubtful(fault: Fault, waits: bool) {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    scene.merchant.api().faults().set_once(RequestKind::Send, fault);
    scene.customer().claim(&session, &invoice).await;
    let looked_up = until("the payment is looked up several times", SOON, async || {
        let shown = scene.shop.json(&["payouts", "show", &session.account(), "--json"]);
        let looks = shown["payouts"][0]["looks"].as_u64();
        looks.is_some_and(|looks| looks >= 3).then_some(shown)
    });
    let shown = looked_up.await;
    assert_eq!(
        (&shown["state"], &shown["payouts"][0]["attempts"]),
        (&json!("paying"), &json!(1)),
        "{shown:#}"
    );
    // The operator cannot hurry it either.
    assert!(scene.shop.run(&["payouts", "retry", &session.account()]).status.success());
    assert_eq!(scene.customer().read(&session).await["refund"]["state"], "paying");
    assert_eq!(scene.merchant.node.outgoing_all().len(), 0);
    // Nor can the customer name another invoice meanwhile.
    let another = scene.customer().invoice_over(invoice.amount().unwrap().to_sats_rounding_down().get());
    let (status, answer) = scene.customer().try_to_claim(&session, &another).await;
    assert_eq!(status, 409, "{answer}");
    let audit = scene.shop.json(&["audit", "--wallet", "--json"]);
    let in_flight: u64 = audit["wallet"]["inFlightMsats"].as_str().unwrap().parse().unwrap();
    assert!(in_flight >= invoice.amount().unwrap().get(), "{audit:#}");
    assert_eq!(audit["wallet"]["sound"], true, "{audit:#}");
    if waits {
        scene.is_paid_once(&session, &invoice, DOUBT).await;
        scene.end().await;
    }
}

#[tokio::test]
async fn a_refund_whose_request_to_phoenixd_was_lost_stays_in_flight_and_is_not_paid_with_another_invoice() {
    doubtful(Fault::RequestLost, false).await;
}

#[tokio::test]
async fn a_refund_at_which_phoenixd_has_failed_stays_in_flight_and_is_not_paid_with_another_invoice() {
    doubtful(Fault::Refused(500), false).await;
}

#[tokio::test]
#[ignore = "takes six minutes: just test-lightning"]
async fn a_refund_whose_request_to_phoenixd_was_lost_is_paid_once_after_the_time_of_doubt() {
    doubtful(Fault::RequestLost, true).await;
}

#[tokio::test]
#[ignore = "takes six minutes: just test-lightning"]
async fn a_refund_at_which_phoenixd_has_failed_is_paid_once_after_the_time_of_doubt() {
    doubtful(Fault::Refused(500), true).await;
}

#[tokio::test]
async fn a_refund_that_takes_the_network_long_is_paid_once() {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    scene.pair.customer().hold();
    scene.customer().claim(&session, &invoice).await;
    scene.pair.customer().held(invoice.payment_hash()).await.unwrap();
    assert_eq!(scene.customer().read(&session).await["refund"]["state"], "paying");
    scene.pair.customer().release();
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

#[tokio::test]
async fn a_refund_whose_payment_an_nwc_wallet_has_made_without_an_answer_is_paid_once() {
    let scene = Scene::nwc().await;
    let Wallet::Nwc { service, .. } = &scene.merchant.wallet else { unreachable!() };
    let (session, invoice) = scene.owed().await;
    service.faults().set_once("pay_invoice", NwcFault::ResponseSwallowed);
    scene.customer().claim(&session, &invoice).await;
    scene.is_paid_once(&session, &invoice, SOON * 2).await;
    scene.end().await;
}

#[tokio::test]
async fn a_refund_is_paid_once_the_relay_of_an_nwc_wallet_runs_again() {
    let scene = Scene::nwc().await;
    let Wallet::Nwc { relay, service } = &scene.merchant.wallet else { unreachable!() };
    let (session, invoice) = scene.owed().await;
    relay.stop().await.unwrap();
    scene.customer().claim(&session, &invoice).await;
    put_off(&scene, &session).await;
    relay.start_again().await.unwrap();
    service.connected(1).await.unwrap();
    scene.is_paid_once(&session, &invoice, SOON * 2).await;
    scene.end().await;
}

#[tokio::test]
async fn an_invoice_whose_payment_was_rejected_is_tried_again() {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    reject(&scene, &session, &invoice).await;
    // It would be tried again by itself, a little later.
    let retried = scene.shop.run(&["payouts", "retry", &session.account()]);
    assert!(retried.status.success(), "{}", crate::all_of(&retried));
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

#[tokio::test]
async fn another_invoice_is_paid_when_the_first_one_has_failed() {
    let scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    let refund = reject(&scene, &session, &invoice).await;
    let another = scene.customer().invoice(&refund);
    scene.customer().claim(&session, &another).await;
    scene.is_paid_once(&session, &another, SOON).await;
    assert!(!scene.customer().has(invoice.payment_hash()));
    scene.end().await;
}

/// The receiver rejects the payment, and would accept the next one. Returns the refund as the customer sees it then.
async fn reject(scene: &Scene, session: &Bought, invoice: &Bolt11) -> serde_json::Value {
    let receiver = scene.pair.customer();
    receiver.hold();
    scene.customer().claim(session, invoice).await;
    receiver.held(invoice.payment_hash()).await.unwrap();
    receiver.reject_held();
    let refund = put_off(scene, session).await;
    assert!(!scene.customer().has(invoice.payment_hash()), "{refund}");
    refund
}
