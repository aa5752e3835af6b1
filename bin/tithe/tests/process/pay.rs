//! `tithe pay` at a server that takes money: nothing is paid for twice, and nothing that does not fit.

use crate::server::tithe;
use serde_json::json;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tithe_clock::{Clock as _, SystemClock, SystemEntropy, Timestamp};
use tithe_ledger::uuid::Uuid;
use tithe_lightning::{Bolt11, InvoiceId, InvoiceRequest, TestPayer, Wallet};
use tithe_money::Sats;
use tithe_paywall::payment::{ChallengeKey, ChargeRequest, NewChallenge, Request};
use tithe_wallet_sim::SimWallet;
use wiremock::matchers::{header_exists, header_regex, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A server that sells one thing for 7 sats, and a folder for its customer.
struct Stall {
    server: MockServer,
    folder: TempDir,
    invoice: Bolt11,
}

impl Stall {
    /// `challenge` writes what the 402 has in `WWW-Authenticate`; `payments` is how many may be made.
    async fn open(challenge: impl Fn(&Bolt11) -> String, payments: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wallet =
            SimWallet::open(folder.path().join("wallet"), Arc::new(SystemClock), Arc::new(SystemEntropy));
        let wallet = wallet.await.unwrap();
        let request = InvoiceRequest {
            id: InvoiceId(Uuid::from_u128(1)),
            amount: Sats::new(7).unwrap(),
            description: "one thing".to_owned(),
            expiry: Duration::from_mins(10),
        };
        let invoice = wallet.invoice_create(&request).await.unwrap();
        let preimage = wallet.pay(&invoice).await.unwrap();
        let server = MockServer::start().await;
        let paid = ResponseTemplate::new(200).set_body_json(json!({ "preimage": preimage.reveal() }));
        Mock::given(path(format!("/dev/stub/pay/{}", invoice.payment_hash())))
            .respond_with(paid)
            .expect(payments)
            .mount(&server)
            .await;
        let unpaid = ResponseTemplate::new(402).insert_header("WWW-Authenticate", challenge(&invoice));
        Mock::given(method("POST"))
            .and(path("/thing"))
            .respond_with(unpaid)
            .with_priority(9)
            .mount(&server)
            .await;
        Self { server, folder, invoice }
    }

    /// What the server answers to whoever has paid, once.
    async fn answers_once(&self, proof: &str, response: ResponseTemplate) {
        Mock::given(path("/thing"))
            .and(header_exists("authorization"))
            .and(header_regex("authorization", proof))
            .respond_with(response)
            .up_to_n_times(1)
            .expect(1)
            .mount(&self.server)
            .await;
    }

    fn pay(&self, more: &[&str]) -> Output {
        let url = format!("{}/thing", self.server.uri());
        let mut command = tithe(self.folder.path());
        command.args(["pay", &url, "-d", "{}", "--dev-pay"]).args(more);
        command.env("XDG_DATA_HOME", self.folder.path()).output().unwrap()
    }

    fn kept(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("tithe/payments")).map_or(0, Iterator::count)
    }
}

fn l402(invoice: &Bolt11) -> String {
    format!(r#"L402 macaroon="abc=", invoice="{}""#, invoice.as_str())
}

/// A charge of the scheme `Payment` for this invoice, which says that it is so much.
fn charge(invoice: &Bolt11, sats: u64) -> String {
    charge_until(invoice, sats, None)
}

fn charge_until(invoice: &Bolt11, sats: u64, expires: Option<Timestamp>) -> String {
    let request = ChargeRequest {
        amount: Sats::new(sats).unwrap(),
        description: None,
        external_id: None,
        invoice: invoice.as_str().to_owned(),
        payment_hash: *invoice.payment_hash().as_bytes(),
        network: None,
    };
    let challenge = NewChallenge {
        realm: "stall".to_owned(),
        request: Request::Charge(request),
        expires,
        digest: None,
        opaque: std::collections::BTreeMap::new(),
        description: None,
    };
    ChallengeKey::derive(b"of the stall").issue(&challenge).unwrap().header().unwrap()
}

#[tokio::test]
async fn what_was_paid_for_and_not_served_is_asked_for_again_with_the_same_proof() {
    let stall = Stall::open(l402, 1).await;
    stall.answers_once("^L402 abc=:[0-9a-f]{64}$", ResponseTemplate::new(500)).await;
    let failed = stall.pay(&[]);
    assert_eq!(failed.status.code(), Some(22), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("paid, but not served"), "{failed:?}");
    assert_eq!(stall.kept(), 2, "the payment and its proof");
    // The paid retry may also be refused with another 402: that is not paid either.
    stall
        .answers_once(
            "^L402 ",
            ResponseTemplate::new(402).insert_header("WWW-Authenticate", l402(&stall.invoice)),
        )
        .await;
    assert_eq!(stall.pay(&[]).status.code(), Some(22));
    stall.answers_once("^L402 ", ResponseTemplate::new(200).set_body_string("the thing")).await;
    let served = stall.pay(&[]);
    assert!(served.status.success(), "{served:?}");
    assert_eq!(served.stdout, b"the thing");
    assert_eq!(stall.kept(), 0, "the next one is a new one");
}

#[tokio::test]
async fn a_charge_of_the_scheme_payment_is_paid() {
    let stall = Stall::open(|invoice| charge(invoice, 7), 1).await;
    stall.answers_once("^Payment ", ResponseTemplate::new(200).set_body_string("the thing")).await;
    let served = stall.pay(&["--max-sats", "7"]);
    assert!(served.status.success(), "{served:?}");
}

#[tokio::test]
async fn what_costs_more_than_it_may_or_than_it_says_is_not_paid() {
    let dear = Stall::open(l402, 0).await;
    let refused = dear.pay(&["--max-sats", "6"]);
    assert_eq!((refused.status.code(), dear.kept()), (Some(1), 0), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--max-sats"), "{refused:?}");
    let liar = Stall::open(|invoice| charge(invoice, 1), 0).await;
    let refused = liar.pay(&[]);
    assert_eq!((refused.status.code(), liar.kept()), (Some(22), 0), "{refused:?}");
    let past = SystemClock.now();
    let late = Stall::open(|invoice| charge_until(invoice, 7, Some(past)), 0).await;
    let refused = late.pay(&[]);
    assert_eq!((refused.status.code(), late.kept()), (Some(1), 0), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("challenge has expired"), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_leaves_out_the_commas_between_parameters_is_paid() {
    let challenge =
        |invoice: &Bolt11| format!(r#"L402 version="0" token="a.b", invoice="{}""#, invoice.as_str());
    let stall = Stall::open(challenge, 1).await;
    stall.answers_once("^L402 a\\.b:[0-9a-f]{64}$", ResponseTemplate::new(200)).await;
    let served = stall.pay(&[]);
    assert!(served.status.success(), "{served:?}");
}
