//! Test invoices that are paid from a second wallet, over the channel.

use crate::books::Before;
use crate::customer::Customer;
use crate::merchant::{Merchant, Setting};
use crate::patience::SOON;
use crate::shop::Shop;
use crate::{all_of, text};
use serde_json::{Value, json};
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_test_lightning::LightningPair;

/// The settings of a server at the merchant's wallet, whose test invoices the other wallet pays.
fn with_payer(merchant: &Merchant, payer: &Merchant) -> Vec<Setting> {
    [merchant.settings(), payer.payer_settings()].concat()
}

/// Opens a session, pays it through the development routes, and has it refunded to a test invoice.
pub(crate) async fn pay_and_be_paid(pair: &LightningPair, merchant: &Merchant, payer: &Merchant) {
    let shop = Shop::open(&with_payer(merchant, payer), &[]);
    let before = Before::of(merchant, pair.customer());
    let customer = Customer { shop: &shop, node: pair.customer() };
    let (status, created) = shop.post("/api/sessions", None, &json!({ "amountSats": 5_000 })).await;
    assert_eq!(status, 201, "{created}");
    let hash: PaymentHash = created["invoice"]["paymentHash"].as_str().unwrap().parse().unwrap();
    let path = format!("/dev/stub/pay/{hash}");
    let (status, answer) = shop.post(&path, None, &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let received = pair.merchant().incoming(hash).unwrap();
    assert_eq!(answer["preimage"], received.preimage.unwrap().reveal(), "{answer}");
    assert_eq!(received.received.unwrap().amount.get(), 5_000_000);
    // It is paid once, however often that is asked for.
    let (status, again) = shop.post(&path, None, &json!({})).await;
    assert_eq!(status, 409, "{again}");

    let session = crate::customer::Bought {
        path: format!("/api/sessions/{}", created["sessionId"].as_str().unwrap()),
        secret: created["macaroon"].as_str().unwrap().to_owned(),
        paid_sats: 5_000,
    };
    customer.seen(&session, "its deposit", |session| session["state"] == "active").await;
    let refund = customer.close(&session).await;
    let body = json!({ "amountSats": refund["payableSats"] });
    let (status, made) = shop.post("/dev/stub/invoice", None, &body).await;
    assert_eq!(status, 201, "{made}");
    let invoice: Bolt11 = made["paymentRequest"].as_str().unwrap().parse().unwrap();
    customer.claim(&session, &invoice).await;
    customer.refunded(&session, SOON).await;
    customer.arrived(&invoice).await;
    pair.settle().await.unwrap();
    let (audit, gain, loss) = before.check(&shop, merchant, pair.customer());
    assert_eq!(gain, loss, "{audit:#}");
}

#[tokio::test]
async fn a_second_phoenixd_pays_test_invoices_of_a_phoenixd() {
    let pair = LightningPair::start().await.unwrap();
    let (merchant, payer) =
        (Merchant::phoenixd(pair.merchant()).await, Merchant::phoenixd(pair.customer()).await);
    pay_and_be_paid(&pair, &merchant, &payer).await;
}

#[tokio::test]
async fn a_second_wallet_of_nwc_pays_test_invoices_of_one() {
    let pair = LightningPair::start().await.unwrap();
    let (merchant, payer) = (Merchant::nwc(pair.merchant()).await, Merchant::nwc(pair.customer()).await);
    pay_and_be_paid(&pair, &merchant, &payer).await;
}

/// The self-test passes on a server at a real wallet, and leaves books that are equal to the wallet's.
pub(crate) async fn selftest(pair: &LightningPair, merchant: &Merchant, payer: &Merchant) {
    let shop = Shop::open(&with_payer(merchant, payer), &[]);
    let before = Before::of(merchant, pair.customer());
    let url = shop.server.url("");
    let ran = shop.run_bare(&["selftest", &url, "--json"]);
    let report: Value =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|wrong| panic!("{wrong}: {}", all_of(&ran)));
    let checks = report["checks"].as_array().unwrap();
    let named = |outcome: &str| -> Vec<&Value> {
        checks.iter().filter(|check| check["outcome"] == outcome).collect()
    };
    assert_eq!((named("failed"), ran.status.code()), (Vec::new(), Some(0)), "{}", text(&ran.stderr));
    let passed = named("ok");
    for name in ["job-money", "refund-paid"] {
        assert!(passed.iter().any(|check| check["name"] == name), "{name} did not pass: {report:#}");
    }
    pair.settle().await.unwrap();
    let (audit, gain, loss) = before.check(&shop, merchant, pair.customer());
    assert_eq!(gain, loss, "{audit:#}");
}

#[tokio::test]
async fn the_self_test_passes_at_phoenixd() {
    let pair = LightningPair::start().await.unwrap();
    let (merchant, payer) =
        (Merchant::phoenixd(pair.merchant()).await, Merchant::phoenixd(pair.customer()).await);
    selftest(&pair, &merchant, &payer).await;
}
