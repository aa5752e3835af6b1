//! `tithe pay` at a server that takes money: nothing is paid for twice, and nothing that does not fit.

use crate::server::tithe;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tithe_clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use tithe_ledger::uuid::Uuid;
use tithe_lightning::{Bolt11, InvoiceId, InvoiceRequest, PaymentHash, TestPayer, Wallet};
use tithe_money::Sats;
use tithe_paywall::payment::{ChallengeKey, ChargeRequest, NewChallenge, Request};
use tithe_wallet_sim::SimWallet;
use wiremock::matchers::{header, header_exists, header_regex, headers, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A server that sells one thing for 7 sats, and a folder for its customer.
pub(crate) struct Stall {
    server: MockServer,
    folder: TempDir,
    invoice: Bolt11,
}

/// An invoice for 7 sats of a simulated wallet, made at that time.
pub(crate) async fn simulated_invoice(folder: &TempDir, clock: Arc<dyn Clock>) -> (SimWallet, Bolt11) {
    let wallet = SimWallet::open(folder.path().join("wallet"), clock, Arc::new(SystemEntropy)).await.unwrap();
    let request = InvoiceRequest {
        id: InvoiceId(Uuid::from_u128(1)),
        amount: Sats::new(7).unwrap(),
        description: "one thing".to_owned(),
        expiry: Duration::from_mins(10),
    };
    let invoice = wallet.invoice_create(&request).await.unwrap();
    (wallet, invoice)
}

impl Stall {
    /// `challenge` writes what the 402 has in `WWW-Authenticate`; `payments` is how many may be made.
    async fn open(challenge: impl Fn(&Bolt11) -> String, payments: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, invoice) = simulated_invoice(&folder, Arc::new(SystemClock)).await;
        let preimage = wallet.pay(&invoice).await.unwrap();
        let stall = Self::of_invoice(invoice, challenge).await;
        let paid = ResponseTemplate::new(200).set_body_json(json!({ "preimage": preimage.reveal() }));
        Mock::given(path(format!("/dev/stub/pay/{}", stall.invoice.payment_hash())))
            .respond_with(paid)
            .expect(payments)
            .mount(&stall.server)
            .await;
        stall
    }

    /// The server asks for that invoice.
    pub(crate) async fn of_invoice(invoice: Bolt11, challenge: impl Fn(&Bolt11) -> String) -> Self {
        let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
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
    pub(crate) async fn answers_once(&self, proof: &str, response: ResponseTemplate) {
        Mock::given(path("/thing"))
            .and(header_exists("authorization"))
            .and(header_regex("authorization", proof))
            .respond_with(response)
            .up_to_n_times(1)
            .expect(1)
            .mount(&self.server)
            .await;
    }

    /// `tithe pay`, without who pays.
    pub(crate) fn command(&self) -> Command {
        let url = format!("{}/thing", self.server.uri());
        let mut command = tithe(self.folder.path());
        command.args(["pay", &url, "-d", "{}"]).env("XDG_DATA_HOME", self.folder.path());
        command
    }

    fn pay(&self, more: &[&str]) -> Output {
        self.command().arg("--dev-pay").args(more).output().unwrap()
    }

    /// The payment hash of what the server asks for.
    pub(crate) fn hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }

    /// The files that are kept of payments.
    pub(crate) fn kept_files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("tithe/payments"));
        files.map_or_else(|_| Vec::new(), |files| files.map(|file| file.unwrap().path()).collect())
    }

    fn kept(&self) -> usize {
        self.kept_files().len()
    }
}

pub(crate) fn l402(invoice: &Bolt11) -> String {
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

#[tokio::test]
async fn a_server_that_still_says_lsat_is_sent_lsat() {
    let challenge = |invoice: &Bolt11| format!(r#"LSAT macaroon="abc=", invoice="{}""#, invoice.as_str());
    let stall = Stall::open(challenge, 1).await;
    stall.answers_once("^LSAT abc=:[0-9a-f]{64}$", ResponseTemplate::new(200)).await;
    let served = stall.pay(&[]);
    assert!(served.status.success(), "{served:?}");
}

#[tokio::test]
async fn the_scheme_that_is_wanted_is_paid_and_no_other() {
    let both = |invoice: &Bolt11| format!("{}, {}", l402(invoice), charge(invoice, 7));
    for (scheme, proof) in [("l402", "^L402 "), ("payment", "^Payment ")] {
        let stall = Stall::open(both, 1).await;
        stall.answers_once(proof, ResponseTemplate::new(200)).await;
        let served = stall.pay(&["--scheme", scheme]);
        assert!(served.status.success(), "{served:?}");
    }
    let stall = Stall::open(l402, 0).await;
    let refused = stall.pay(&["--scheme", "payment"]);
    assert_eq!((refused.status.code(), stall.kept()), (Some(22), 0), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no challenge of Payment"), "{refused:?}");
}

#[tokio::test]
async fn the_status_and_the_headers_are_printed_before_the_body_as_curl_does() {
    let stall = Stall::open(l402, 1).await;
    let served = ResponseTemplate::new(201).insert_header("x-thing", "a").set_body_string("the thing");
    stall.answers_once("^L402 ", served).await;
    let printed = stall.pay(&["-i"]);
    assert!(printed.status.success(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (head, body) = printed.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{printed}");
    assert!(head.contains("\r\nx-thing: a"), "{printed}");
    assert_eq!(body, "the thing");
}

#[tokio::test]
async fn headers_are_sent_as_they_are_written_and_a_wrong_one_is_wrong_usage() {
    let stall = Stall::open(l402, 0).await;
    let expected = Mock::given(path("/thing"))
        .and(header("content-type", "text/plain"))
        .and(headers("x-two", vec!["a", "b"]))
        .respond_with(ResponseTemplate::new(200));
    expected.expect(1).mount(&stall.server).await;
    let sent = stall.pay(&["-H", "Content-Type: text/plain", "-H", "X-Two:a", "-H", "X-Two: b"]);
    assert!(sent.status.success(), "{sent:?}");
    for wrong in ["no colon", ": no name", "bad name: x", "x: a\nb"] {
        let refused = stall.pay(&["-H", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}: {refused:?}");
    }
}

#[tokio::test]
async fn a_payment_with_play_money_that_was_begun_is_made_once() {
    let stall = Stall::open(l402, 1).await;
    stall.answers_once("^L402 ", ResponseTemplate::new(503)).await;
    assert_eq!(stall.pay(&[]).status.code(), Some(22));
    // As if the process had ended before it has noted the proof.
    let files = stall.kept_files();
    let proof = files.iter().find(|file| file.extension().is_some_and(|end| end == "proof")).unwrap();
    std::fs::remove_file(proof).unwrap();
    stall.server.reset().await;
    let refused = Mock::given(path(format!("/dev/stub/pay/{}", stall.invoice.payment_hash())));
    refused.respond_with(ResponseTemplate::new(409)).expect(1).mount(&stall.server).await;
    let unknown = stall.pay(&[]);
    assert_eq!((unknown.status.code(), stall.kept()), (Some(1), 1), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("not known whether"), "{unknown:?}");
}
