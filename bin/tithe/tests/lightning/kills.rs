//! The server is killed while a refund is paid.

use crate::faults::Scene;
use crate::patience::SOON;
use tithe_test_lightning::{Fault, RequestKind};

#[tokio::test]
async fn a_refund_that_the_wallet_has_paid_when_the_server_is_killed_is_paid_once() {
    let mut scene = Scene::phoenixd().await;
    let (session, invoice) = scene.owed().await;
    scene.merchant.api().faults().set_once(RequestKind::Send, Fault::ResponseWithheld);
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
