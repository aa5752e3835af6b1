//! Creating invoices.

use crate::bench::{Bench, PREIMAGE, Terms, WRONG_PREIMAGE, bolt11, form, ok, request};
use std::time::Duration;
use tithe_lightning::{Network, PaymentHash, Wallet, WalletError};
use wiremock::ResponseTemplate;

fn generated(hash: PaymentHash, serialized: &str) -> ResponseTemplate {
    ok(&format!(r#"{{"amountSat":1000,"paymentHash":"{hash}","serialized":"{serialized}"}}"#))
}

async fn creating(response: ResponseTemplate) -> Result<(), WalletError> {
    let bench = Bench::new().await;
    bench.post("/createinvoice", response).await;
    bench.wallet.invoice_create(&request("x")).await.map(drop)
}

#[tokio::test]
async fn an_invoice_is_requested_with_its_amount_description_expiry_and_id() {
    let bench = Bench::new().await;
    let serialized = bolt11(Terms::default());
    bench.post("/createinvoice", generated(PREIMAGE.payment_hash(), &serialized)).await;
    let mut wanted = request("a job & more: 100 %");
    wanted.expiry = Duration::from_millis(599_001);
    let invoice = bench.wallet.invoice_create(&wanted).await.unwrap();
    assert_eq!(invoice.as_str(), serialized);
    let sent = form(&bench.requests("/createinvoice").await.remove(0));
    let field = |name: &str| sent.get(name).map(String::as_str);
    assert_eq!(field("amountSat"), Some("1000"));
    assert_eq!(field("description"), Some("a job & more: 100 %"));
    assert_eq!(field("expirySeconds"), Some("600"));
    assert_eq!(field("externalId"), Some(wanted.id.to_string().as_str()));
    assert_eq!(sent.len(), 4, "{sent:?}");
}

#[tokio::test]
async fn a_description_is_cut_to_what_phoenixd_accepts() {
    let bench = Bench::new().await;
    bench.post("/createinvoice", generated(PREIMAGE.payment_hash(), &bolt11(Terms::default()))).await;
    bench.wallet.invoice_create(&request(&"ä".repeat(200))).await.unwrap();
    let sent = form(&bench.requests("/createinvoice").await.remove(0));
    assert_eq!(sent.get("description"), Some(&format!("{}…", "ä".repeat(127))));
}

#[tokio::test]
async fn another_invoice_than_the_requested_one_is_nonsense() {
    let hash = PREIMAGE.payment_hash();
    let terms = Terms::default();
    for (hash, serialized) in [
        (hash, bolt11(Terms { network: Network::Mainnet, ..terms })),
        (hash, bolt11(Terms { amount: Some(1_000_001), ..terms })),
        (hash, bolt11(Terms { amount: None, ..terms })),
        (hash, bolt11(Terms { expiry: Duration::from_secs(299), ..terms })),
        (WRONG_PREIMAGE.payment_hash(), bolt11(terms)),
        (hash, "lnbcrt1".to_owned()),
    ] {
        let made = creating(generated(hash, &serialized)).await;
        assert!(matches!(made, Err(WalletError::Nonsense(_))), "{made:?}");
    }
    assert!(matches!(creating(ok("{}")).await, Err(WalletError::Nonsense(_))));
}

#[tokio::test]
async fn a_clock_that_differs_a_little_does_no_harm() {
    let terms = Terms { expiry: Duration::from_mins(5), ..Terms::default() };
    creating(generated(PREIMAGE.payment_hash(), &bolt11(terms))).await.unwrap();
}

#[tokio::test]
async fn a_refused_invoice_is_told_from_one_that_may_have_been_made() {
    let refusal = ResponseTemplate::new(400).set_body_string("Request parameter description is\ntoo long");
    let Err(WalletError::Refused(text)) = creating(refusal).await else { panic!() };
    assert_eq!(text, "unexpected response: status 400: Request parameter description is too long");
    for status in [500, 502, 504] {
        let lost = creating(ResponseTemplate::new(status)).await;
        assert!(matches!(lost, Err(WalletError::OutcomeUnknown(Some(_)))), "{status}");
    }
    for status in [429, 503] {
        let busy = creating(ResponseTemplate::new(status)).await;
        assert!(matches!(busy, Err(WalletError::Unavailable(Some(_)))), "{status}");
    }
}
