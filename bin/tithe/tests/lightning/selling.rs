//! A job and a session from the first payment to the refund, at each wallet.

use crate::books::{Before, account};
use crate::customer::{Bought, Customer};
use crate::merchant::Merchant;
use crate::patience::SOON;
use crate::shop::Shop;
use serde_json::json;
use tithe_lightning::Bolt11;
use tithe_test_lightning::{LightningNode, LightningPair};

/// A refund that has arrived.
pub(crate) struct Refunded {
    /// The account of what was bought.
    pub(crate) account: String,
    pub(crate) invoice: Bolt11,
    pub(crate) sats: u64,
}

/// Buys a job and spends a session, and has both refunded.
pub(crate) async fn buy_and_be_refunded(shop: &Shop, node: &LightningNode) -> [Refunded; 2] {
    let customer = Customer { shop, node };
    let (job, done) = customer.buy_job("Why is the sky blue?").await;
    assert_eq!((&done["state"], &done["refund"]["state"]), (&json!("complete"), &json!("pending")), "{done}");
    let job_invoice = customer.invoice(&done["refund"]);
    customer.claim(&job, &job_invoice).await;

    let session = customer.open_session(20_000).await;
    let body = json!({ "request": "Why is the grass green?", "maxOutputTokens": 60 });
    let (status, reply) = shop.post(&format!("{}/request", session.path), Some(&session.secret), &body).await;
    assert_eq!(status, 200, "{reply}");
    let charged = reply["debitedMsats"].as_u64().unwrap();
    assert!(charged > 0, "{reply}");
    let due = customer.close(&session).await;
    assert_eq!(due["amountSats"], (session.paid_sats * 1_000 - charged) / 1_000, "{due}");
    let session_invoice = customer.invoice(&due);
    customer.claim(&session, &session_invoice).await;

    let refunded = async |bought: &Bought, invoice: Bolt11| {
        let sats = customer.arrived(&invoice).await;
        let refund = customer.refunded(bought, SOON).await;
        assert_eq!(refund["paymentHash"], invoice.payment_hash().to_string(), "{refund}");
        // Naming the same invoice again, or another one, changes nothing. A session can be closed again whatever is due.
        for again in [&invoice, &customer.invoice_over(1_000)] {
            match customer.try_to_claim(bought, again).await {
                (409, answer) => assert_eq!(answer["code"], "nothing_due", "{answer}"),
                (status, answer) => assert_eq!((status, &answer["refund"]), (202, &refund), "{answer}"),
            }
            assert_eq!(customer.read(bought).await["refund"], refund);
        }
        Refunded { account: bought.account(), invoice, sats }
    };
    let refunds = [refunded(&job, job_invoice).await, refunded(&session, session_invoice).await];
    let solvency = shop.get("/api/solvency", None).await;
    assert!(solvency["heldSats"].is_u64(), "{solvency}");
    refunds
}

/// The whole story at one wallet, with a customer who is the merchant's neighbour: nothing is lost on the way.
pub(crate) async fn sell(pair: &LightningPair, merchant: &Merchant) {
    let mut shop = Shop::open(&merchant.settings(), &[]);
    let before = Before::of(merchant, pair.customer());
    let refunds = buy_and_be_refunded(&shop, pair.customer()).await;
    pair.settle().await.unwrap();
    shop.close();
    let (audit, gain, loss) = before.check(&shop, merchant, pair.customer());
    assert_eq!(gain, loss, "{audit:#}");
    let incoming = merchant.node.incoming_all();
    let paid_in: u64 = incoming.iter().filter_map(|it| it.received).map(|it| it.amount.get()).sum();
    let refunded: u64 = refunds.iter().map(|refund| refund.sats).sum();
    assert_eq!(gain, i128::from(paid_in) - i128::from(refunded) * 1_000);
    assert_eq!(account(&audit, "refunds_due"), 0, "{audit:#}");
}

#[tokio::test]
async fn a_job_and_a_session_are_paid_and_refunded_over_a_channel_at_phoenixd() {
    let pair = LightningPair::start().await.unwrap();
    sell(&pair, &Merchant::phoenixd(pair.merchant()).await).await;
}

#[tokio::test]
async fn a_job_and_a_session_are_paid_and_refunded_over_a_channel_at_a_wallet_of_nwc() {
    let pair = LightningPair::start().await.unwrap();
    sell(&pair, &Merchant::nwc(pair.merchant()).await).await;
}
