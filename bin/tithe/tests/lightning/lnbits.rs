//! The same at a real LNbits, which is installed from the Python package index.

use crate::dev_payer::{pay_and_be_paid, selftest};
use crate::faults::{Scene, put_off};
use crate::merchant::{Merchant, Wallet};
use crate::patience::{SOON, until};
use crate::selling::sell;
use serde_json::{Value, json};
use tithe_test_lightning::{
    Fault, LightningNode, LightningPair, LnbitsError, LnbitsServer, PayTerms, PhoenixdApi, RequestKind,
};

/// LNbits over a node; `None`, with a line on the terminal, where it cannot be installed.
async fn lnbits(node: &LightningNode) -> Option<Merchant> {
    let api = PhoenixdApi::start(node).await.unwrap();
    match LnbitsServer::start(&api).await {
        Ok(lnbits) => Some(Merchant { node: node.clone(), wallet: Wallet::Lnbits { api, lnbits } }),
        Err(LnbitsError::Unavailable(why)) => {
            println!("SKIPPED: LNbits is not available: {why}");
            None
        }
        Err(failure) => panic!("{failure}"),
    }
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lightning"]
async fn a_job_and_a_session_are_paid_and_refunded_over_a_channel_at_lnbits() {
    let pair = LightningPair::start().await.unwrap();
    let Some(merchant) = lnbits(pair.merchant()).await else { return };
    sell(&pair, &merchant).await;
}

/// Gives the wallet of the other LNbits something to pay with.
async fn fund(payer: &Merchant, from: &LightningNode) {
    let Wallet::Lnbits { lnbits, .. } = &payer.wallet else { unreachable!() };
    let body = json!({ "out": false, "amount": 1_000_000, "memo": "for tests" });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request =
        http.post(lnbits.url() + "/api/v1/payments").header("x-api-key", &lnbits.wallet().invoice_key);
    let made: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
    let invoice = made["bolt11"].as_str().unwrap().parse().unwrap();
    let paid = from.pay(&invoice, PayTerms::default()).await.unwrap();
    assert!(paid.succeeded().is_some(), "{paid:?}");
    let path = lnbits.url() + "/api/v1/payments/" + made["payment_hash"].as_str().unwrap();
    until("LNbits sees the payment", SOON, async || {
        let request = http.get(&path).header("x-api-key", &lnbits.wallet().invoice_key);
        let seen: Value = request.send().await.unwrap().json().await.unwrap();
        (seen["paid"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lightning"]
async fn a_second_lnbits_pays_test_invoices_of_an_lnbits() {
    let pair = LightningPair::start().await.unwrap();
    let Some(merchant) = lnbits(pair.merchant()).await else { return };
    let Some(payer) = lnbits(pair.customer()).await else { return };
    fund(&payer, pair.merchant()).await;
    pair.settle().await.unwrap();
    pay_and_be_paid(&pair, &merchant, &payer).await;
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lightning"]
async fn the_self_test_passes_at_lnbits() {
    let pair = LightningPair::start().await.unwrap();
    let Some(merchant) = lnbits(pair.merchant()).await else { return };
    let payer = Merchant::phoenixd(pair.customer()).await;
    selftest(&pair, &merchant, &payer).await;
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lightning"]
async fn a_refund_is_paid_once_lnbits_runs_again() {
    let pair = LightningPair::start().await.unwrap();
    let Some(merchant) = lnbits(pair.merchant()).await else { return };
    let scene = Scene::of(pair, merchant);
    let Wallet::Lnbits { lnbits, .. } = &scene.merchant.wallet else { unreachable!() };
    // The reserve that LNbits wants to see for routing fees.
    scene.customer().open_session(5_000).await;
    let (session, invoice) = scene.owed().await;
    lnbits.stop().unwrap();
    scene.customer().claim(&session, &invoice).await;
    put_off(&scene, &session).await;
    lnbits.start_again().await.unwrap();
    scene.is_paid_once(&session, &invoice, SOON * 2).await;
    scene.end().await;
}

#[tokio::test]
#[ignore = "installs LNbits: just test-lightning"]
async fn a_refund_whose_payment_the_backend_of_lnbits_has_made_without_an_answer_is_paid_once() {
    let pair = LightningPair::start().await.unwrap();
    let Some(merchant) = lnbits(pair.merchant()).await else { return };
    let scene = Scene::of(pair, merchant);
    scene.customer().open_session(5_000).await;
    let (session, invoice) = scene.owed().await;
    scene.merchant.api().faults().set_once(RequestKind::Send, Fault::ResponseLost);
    scene.customer().claim(&session, &invoice).await;
    scene.customer().arrived(&invoice).await;
    scene.is_paid_once(&session, &invoice, SOON * 2).await;
    scene.end().await;
}
