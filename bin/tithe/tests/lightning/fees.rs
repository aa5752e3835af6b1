//! What receiving and sending costs: it is booked as it is, to the msat.

use crate::books::{Before, account};
use crate::customer::Customer;
use crate::merchant::Merchant;
use crate::patience::SOON;
use crate::selling::buy_and_be_refunded;
use crate::shop::Shop;
use serde_json::json;
use tithe_money::Msats;
use tithe_test_lightning::{Keep, LightningLine, LightningPair, RoutingFee};

#[tokio::test]
async fn a_liquidity_fee_that_phoenixd_keeps_is_booked() {
    let pair = LightningPair::start().await.unwrap();
    let merchant = Merchant::phoenixd(pair.merchant()).await;
    let shop = Shop::open(&merchant.settings(), &[]);
    let customer = Customer { shop: &shop, node: pair.customer() };
    let before = Before::of(&merchant, pair.customer());
    let fee = 1_234_567;
    merchant.api().keep(Keep::LiquidityFee(Msats::new(fee).unwrap()));
    // The customer's balance is the whole deposit nevertheless.
    let session = customer.open_session(20_000).await;
    merchant.api().keep(Keep::Nothing);
    let refund = customer.close(&session).await;
    assert_eq!(refund["amountSats"], 20_000, "{refund}");
    let invoice = customer.invoice(&refund);
    customer.claim(&session, &invoice).await;
    let refunded = customer.arrived(&invoice).await;
    customer.refunded(&session, SOON).await;
    pair.settle().await.unwrap();

    let (audit, gain, loss) = before.check(&shop, &merchant, pair.customer());
    assert_eq!(loss, 20_000_000 - i128::from(refunded) * 1_000);
    assert_eq!(gain, loss - i128::from(fee), "{audit:#}");
}

/// With a router between the two, who charges for each payment what the provider of a phoenixd does.
async fn routed(line: &LightningLine, merchant: &Merchant) {
    let shop = Shop::open(&merchant.settings(), &[]);
    let before = Before::of(merchant, line.customer());
    let router = line.router().balance().get();
    let refunds = buy_and_be_refunded(&shop, line.customer()).await;
    line.settle().await.unwrap();
    let (audit, gain, loss) = before.check(&shop, merchant, line.customer());

    // Each payout cost what the router charges, and was booked as that.
    assert_eq!(merchant.node.outgoing_all().len(), refunds.len());
    let (mut limits, mut fees) = (0, 0);
    for refund in &refunds {
        let payment = merchant.node.payment_status(refund.invoice.payment_hash()).unwrap();
        let (_, fee) = payment.succeeded().unwrap();
        assert_eq!(fee.get(), RoutingFee::TRAMPOLINE.of_msats(refund.sats * 1_000));
        let shown = shop.json(&["payouts", "show", &refund.account, "--json"]);
        let payout = &shown["payouts"][0];
        assert_eq!((&shown["state"], &payout["state"]), (&json!("paid"), &json!("paid")), "{shown:#}");
        assert_eq!(payout["feeMsats"], fee.get().to_string(), "{payout}");
        let limit = payout["feeLimitSats"].as_u64().unwrap() * 1_000;
        assert!(fee.get() <= limit, "{payout}");
        (limits, fees) = (limits + limit, fees + fee.get());
    }
    assert_eq!(account(&audit, "routing_fees"), i128::from(limits) - i128::from(fees), "{audit:#}");
    // What the customer has lost is what the merchant and the router have gained.
    let earned = i128::from(line.router().balance().get()) - i128::from(router);
    assert!(earned > i128::from(fees));
    assert_eq!(loss, gain + earned, "{audit:#}");
}

#[tokio::test]
async fn the_routing_fees_of_refunds_are_booked_to_the_msat_at_phoenixd() {
    let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
    routed(&line, &Merchant::phoenixd(line.merchant()).await).await;
}

#[tokio::test]
async fn the_routing_fees_of_refunds_are_booked_to_the_msat_at_a_wallet_of_nwc() {
    let line = LightningLine::start(RoutingFee::TRAMPOLINE).await.unwrap();
    routed(&line, &Merchant::nwc(line.merchant()).await).await;
}
