//! The same at a real LNbits, which is installed from the Python package index.

use crate::dev_payer::{pay_and_be_paid, selftest};
use crate::merchant::{Merchant, Wallet};
use crate::selling::sell;
use tithe_test_lightning::{
    LightningNode, LightningPair, LnbitsError, LnbitsServer, PayTerms, PhoenixdApi,
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
    let body = serde_json::json!({ "out": false, "amount": 1_000_000, "memo": "for tests" });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(lnbits.url() + "/api/v1/payments").header("x-api-key", &lnbits.wallet().invoice_key);
    let made: serde_json::Value = request.json(&body).send().await.unwrap().json().await.unwrap();
    let invoice = made["bolt11"].as_str().unwrap().parse().unwrap();
    let paid = from.pay(&invoice, PayTerms::default()).await.unwrap();
    assert!(paid.succeeded().is_some(), "{paid:?}");
    let path = lnbits.url() + "/api/v1/payments/" + made["payment_hash"].as_str().unwrap();
    crate::patience::until("LNbits sees the payment", crate::patience::SOON, async || {
        let request = http.get(&path).header("x-api-key", &lnbits.wallet().invoice_key);
        let seen: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
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
