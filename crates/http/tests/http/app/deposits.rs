//! Clients that pay from a session of the scheme `Payment`.

use super::jobs::text;
use super::{Answer, Metered, TestApp};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tithe_lightning::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tithe_paywall::payment::{Challenge, SessionAction};

/// How many invoices there are, so that no two have one payment hash.
static INVOICES: AtomicU64 = AtomicU64::new(0);

/// An invoice of a wallet that nobody knows.
pub(crate) fn return_invoice(currency: Currency, sats: Option<u64>, created: Duration) -> String {
    let (secp, key) = (Secp256k1::new(), SecretKey::from_slice(&[7; 32]).unwrap());
    let builder = InvoiceBuilder::new(currency)
        .description("what is left".to_owned())
        .payment_hash(sha256::Hash::hash(&INVOICES.fetch_add(1, Ordering::Relaxed).to_be_bytes()))
        .payment_secret(PaymentSecret([9; 32]))
        .duration_since_epoch(Duration::from_secs(created.as_secs()))
        .min_final_cltv_expiry_delta(80)
        .expiry_time(Duration::from_hours(24 * 30));
    let builder = match sats {
        Some(sats) => builder.amount_milli_satoshis(sats * 1_000),
        None => builder,
    };
    builder.build_signed(|message| secp.sign_ecdsa_recoverable(message, &key)).unwrap().to_string()
}

/// The challenge of a session in a 402.
#[derive(Debug, Clone)]
pub(crate) struct Deposit {
    pub(crate) challenge: Challenge,
    /// The JSON object in it.
    pub(crate) request: Value,
}

impl Deposit {
    /// The challenge of a session, which is the last one.
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 402, "{}", answer.text);
        let last = answer.headers.get_all("www-authenticate").iter().next_back();
        let last = last.unwrap_or_else(|| panic!("no challenge: {}", answer.text)).to_str().unwrap();
        let mut challenges = Challenge::parse_all(last);
        let challenge = challenges.pop().unwrap();
        assert_eq!((challenge.intent.as_str(), challenges.len()), ("session", 0), "{last}");
        let request = super::paid::decoded(&challenge.request);
        Self { challenge, request }
    }

    pub(crate) fn hash(&self) -> String {
        text(&self.request["paymentHash"])
    }

    pub(crate) fn sats(&self) -> u64 {
        text(&self.request["depositAmount"]).parse().unwrap()
    }

    /// The preimage of the deposit, which is paid.
    pub(crate) async fn pay(&self, app: &TestApp) -> [u8; 32] {
        bytes(&text(&app.pay(&self.hash()).await["preimage"]))
    }
}

/// 32 bytes of hex digits.
pub(crate) fn bytes(hex: &str) -> [u8; 32] {
    let byte = |n: usize| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap();
    std::array::from_fn(byte)
}

/// A session, as its client knows it.
#[derive(Debug, Clone)]
pub(crate) struct PaymentSession {
    pub(crate) deposit: Deposit,
    pub(crate) preimage: [u8; 32],
    pub(crate) return_invoice: String,
}

impl PaymentSession {
    pub(crate) fn id(&self) -> [u8; 32] {
        bytes(&self.deposit.hash())
    }

    pub(crate) fn open(&self) -> String {
        let (preimage, return_invoice) = (self.preimage, self.return_invoice.clone());
        self.deposit.challenge.answer_session(&SessionAction::Open { preimage, return_invoice })
    }

    pub(crate) fn bearer(&self, by: &Deposit) -> String {
        let (session_id, preimage) = (self.id(), self.preimage);
        by.challenge.answer_session(&SessionAction::Bearer { session_id, preimage })
    }

    pub(crate) fn close(&self, by: &Deposit) -> String {
        let (session_id, preimage) = (self.id(), self.preimage);
        by.challenge.answer_session(&SessionAction::Close { session_id, preimage })
    }

    pub(crate) fn top_up(&self, by: &Deposit, top_up_preimage: [u8; 32]) -> String {
        by.challenge.answer_session(&SessionAction::TopUp { session_id: self.id(), top_up_preimage })
    }
}

impl TestApp {
    /// The challenge of a session for this request, which nobody pays for.
    pub(crate) async fn deposit(&self, route: Metered, body: &Value) -> Deposit {
        Deposit::of(&self.ai_send(self.metered(route, body, false)).await)
    }

    /// The challenge of a session, as clients get one that have no request.
    pub(crate) async fn deposit_by_get(&self, route: Metered) -> Deposit {
        Deposit::of(&self.ai_send(self.request(Method::GET, route.path())).await)
    }

    /// A return invoice that is as good as they come.
    pub(crate) async fn good_return_invoice(&self) -> String {
        text(
            &self.post("/dev/stub/invoice", r#"{"amountSats":0}"#.to_owned()).await.ok(201)["paymentRequest"],
        )
    }

    /// A session whose deposit is paid, and which is not open yet.
    pub(crate) async fn payment_session(&self, route: Metered, body: &Value) -> PaymentSession {
        let deposit = self.deposit(route, body).await;
        let preimage = deposit.pay(self).await;
        PaymentSession { deposit, preimage, return_invoice: self.good_return_invoice().await }
    }

    /// A session that was opened with this request.
    pub(crate) async fn opened_session(&self, route: Metered, body: &Value) -> PaymentSession {
        let session = self.payment_session(route, body).await;
        let answer = self.proving(route, body, &session.open()).await;
        assert_eq!(answer.status, 200, "{route:?}: {}", answer.text);
        session
    }

    /// `GET` with this credential, and nothing else.
    pub(crate) fn getting(&self, route: Metered, credential: &str) -> RequestBuilder {
        self.request(Method::GET, route.path()).header("Authorization", credential)
    }
}
