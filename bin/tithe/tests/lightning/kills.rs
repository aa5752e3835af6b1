//! Servers are killed while refunds are paid, and several pay them at once.

use crate::faults::Scene;
use crate::merchant::Wallet;
use crate::patience::SOON;
use tithe_test_lightning::{Fault, NwcFault, RequestKind};

/// How many refunds two servers pay at once.
const REFUNDS: usize = 12;

#[tokio::test]
async fn a_refund_that_phoenixd_has_paid_when_the_server_is_killed_is_paid_once() {
    let scene = Scene::phoenixd().await;
    scene.merchant.api().faults().set_once(RequestKind::Send, Fault::ResponseWithheld);
    killed_after_the_payment(scene).await;
}

#[tokio::test]
async fn a_refund_that_an_nwc_wallet_has_paid_when_the_server_is_killed_is_paid_once() {
    let scene = Scene::nwc().await;
    let Wallet::Nwc { service, .. } = &scene.merchant.wallet else { unreachable!() };
    service.faults().set_once("pay_invoice", NwcFault::ResponseSwallowed);
    killed_after_the_payment(scene).await;
}

/// The wallet pays and does not answer.
async fn killed_after_the_payment(mut scene: Scene) {
    let (session, invoice) = scene.owed().await;
    scene.customer().claim(&session, &invoice).await;
    // The customer has the money; the server does not know.
    scene.customer().arrived(&invoice).await;
    scene.shop.server.kill();
    let shown = scene.shop.json(&["payouts", "show", &session.account(), "--json"]);
    assert_eq!(shown["state"], "paying", "{shown:#}");
    scene.shop.server.restart().unwrap();
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

#[tokio::test]
async fn a_refund_that_is_on_its_way_when_the_server_is_killed_is_paid_once() {
    let mut scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    scene.pair.customer().hold();
    scene.customer().claim(&session, &invoice).await;
    scene.pair.customer().held(invoice.payment_hash()).await.unwrap();
    scene.shop.server.kill();
    scene.shop.server.restart().unwrap();
    assert_eq!(scene.customer().read(&session).await["refund"]["state"], "paying");
    scene.pair.customer().release();
    scene.is_paid_once(&session, &invoice, SOON).await;
    scene.end().await;
}

#[tokio::test]
async fn two_servers_that_pay_refunds_from_one_wallet_pay_each_of_them_once() {
    let mut scene = Scene::phoenixd().await;
    scene.shop.add_server(&scene.merchant.settings());
    let mut owed = Vec::new();
    for _ in 0..REFUNDS {
        owed.push(scene.owed().await);
    }
    for (session, invoice) in &owed {
        scene.customer().claim(session, invoice).await;
    }
    for (session, invoice) in &owed {
        scene.is_paid_once(session, invoice, SOON).await;
    }
    assert_eq!(scene.merchant.node.outgoing_all().len(), REFUNDS);
    scene.shop.close();
    scene.end().await;
}
