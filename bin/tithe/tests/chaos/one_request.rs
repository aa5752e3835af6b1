//! A customer who pays for each request by itself, from a wallet of their own.

use crate::asker::Asker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tithe_lightning::{Bolt11, Preimage, TestPayer, TestPaymentError};
use tithe_wallet_sim::SimWallet;

/// How often the same proof is sent at once, to whichever servers.
const AT_ONCE: u64 = 4;

/// One who pays for single requests.
pub(crate) struct OneRequestPayer {
    pub(crate) asker: Asker,
    /// It remembers what it has paid, whatever becomes of the servers.
    pub(crate) wallet: Arc<SimWallet>,
}

/// The most that a server keeps of a request until it is paid for, in bytes. A larger one is paid for beforehand.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A payment for a request, and how it is proved.
struct Payment {
    path: &'static str,
    body: Value,
    /// What it is read and claimed at.
    at: String,
    proof: String,
    sats: u64,
    /// Whether the request was done before its payment was taken.
    was_held: bool,
}

impl OneRequestPayer {
    /// Buys requests one by one. Some are paid for and not used, but claimed back; of those whose payment is held, some fail.
    pub(crate) async fn buy_all(self, number: u64, requests: u64) {
        for n in 0..requests * 2 {
            let fails = n % 4 == 3;
            let wanted = if fails { "[sim:refuse] cannot be done" } else { "why is the sky blue?" };
            let text = format!("payer {number}, request {n}: {wanted}");
            let payment = self.paid(self.request(&text, fails)).await;
            match payment {
                // It has come back, for a failure or for a server that was killed at an unlucky moment.
                None => {}
                Some(payment) if fails => {
                    assert!(!payment.was_held, "a payment was taken for nothing");
                    self.claim(&payment).await;
                }
                Some(payment) if n % 5 == 4 && !payment.was_held => self.claim(&payment).await,
                Some(payment) => self.redeem(&payment).await,
            }
        }
    }

    /// A request, and its path. A third of those that do not fail is too large to be kept.
    fn request(&self, text: &str, fails: bool) -> (&'static str, Value) {
        let ask = ("/api/ask", json!({ "request": text, "maxOutputTokens": 60 }));
        let messages = json!([{ "role": "user", "content": text }]);
        let mut chat = json!({ "model": "sim-large", "messages": messages, "max_tokens": 60 });
        match self.asker.random(if fails { 2 } else { 3 }) {
            0 => ask,
            1 => ("/v1/chat/completions", chat),
            _ => {
                chat["user"] = "x".repeat(KEPT_BYTES_MAX).into();
                ("/v1/chat/completions", chat)
            }
        }
    }

    /// Asks for something that nobody pays for, and pays for it; `None` if its payment was held and has come back. An invoice may expire
    /// before it is paid.
    async fn paid(&self, (path, body): (&'static str, Value)) -> Option<Payment> {
        loop {
            let (status, unpaid) = self.asker.ask_proving(None, "POST", path, Some(&body)).await;
            assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{unpaid}");
            let offer = [&unpaid["offer"], &unpaid["error"]["metadata"]["offer"]];
            let offer =
                offer.into_iter().find(|offer| !offer.is_null()).unwrap_or_else(|| panic!("{unpaid}"));
            if let Some(invoice) = offer["invoice"]["paymentRequest"].as_str() {
                let was_held = offer["payment"] == "held";
                match self.pay(&invoice.parse().unwrap()).await {
                    Ok(preimage) => {
                        let sats = offer["amountSats"].as_u64().unwrap();
                        self.asker.tally.paid_sats.fetch_add(sats, Ordering::SeqCst);
                        let proof = offer["authorization"].as_str().unwrap();
                        let proof = proof.replace("<preimage>", &preimage.reveal());
                        let at = offer["links"]["payment"].as_str().unwrap().to_owned();
                        return Some(Payment { path, body, at, proof, sats, was_held });
                    }
                    Err(TestPaymentError::Expired(_)) => {}
                    Err(TestPaymentError::Returned(_)) if was_held => {
                        self.asker.tally.ends.add("held request given back");
                        return None;
                    }
                    Err(failure) => panic!("{failure:?}: {offer}"),
                }
            } else {
                let unavailable = offer["unavailable"].as_str().unwrap_or_else(|| panic!("{unpaid}"));
                self.asker.tally.retries.add(&format!("402 {unavailable}"));
            }
            self.asker.pause().await;
        }
    }

    /// Pays an invoice. A payment that is held is waited for.
    async fn pay(&self, invoice: &Bolt11) -> Result<Preimage, TestPaymentError> {
        loop {
            match self.wallet.pay(invoice).await {
                Err(TestPaymentError::Held(_)) => self.asker.pause().await,
                ended => return ended,
            }
        }
    }

    /// Has the request done for the payment: once, however often and wherever it is asked for.
    async fn redeem(&self, payment: &Payment) {
        let answers = (0..AT_ONCE).map(|_| self.answer(payment));
        let answers = futures_util::future::join_all(answers).await;
        let first = answers.first().unwrap();
        for answer in &answers {
            assert_eq!(answer, first, "the same proof buys the same answer");
        }
        assert_eq!(&self.answer(payment).await, first, "and again");
        let cost = [&first["costMsats"], &first["usage"]["cost_msats"]];
        let cost = cost.into_iter().find_map(Value::as_u64).unwrap_or_else(|| panic!("{first}"));
        let paid = self.read(payment).await;
        assert_eq!(paid["state"], "used", "{paid}");
        assert_eq!(paid["chargedMsats"], cost, "{paid}");
        assert!(cost > 0, "{paid}");
        self.owed(payment, &paid, cost);
        let end = if payment.was_held { "held request complete" } else { "paid request complete" };
        self.asker.tally.ends.add(end);
    }

    async fn answer(&self, payment: &Payment) -> Value {
        let Payment { path, body, proof, was_held, .. } = payment;
        loop {
            let (status, reply) = self.asker.ask_proving(Some(proof), "POST", path, Some(body)).await;
            match status {
                StatusCode::OK => return reply,
                // The server lost its hold while the database was away. Nothing was charged.
                StatusCode::BAD_GATEWAY if !was_held => self.asker.tally.retries.add("502 of a paid request"),
                other => panic!("{other} {reply}"),
            }
            self.asker.pause().await;
        }
    }

    /// Claims all of a payment that was not used. Then it buys nothing any more.
    async fn claim(&self, payment: &Payment) {
        let Payment { path, body, proof, at, .. } = payment;
        let refund = format!("{at}/refund");
        let (status, claimed) = self.asker.ask_proving(Some(proof), "POST", &refund, Some(&json!({}))).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{claimed}");
        assert_eq!(claimed["state"], "returned", "{claimed}");
        let (status, refused) = self.asker.ask_proving(Some(proof), "POST", path, Some(body)).await;
        assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{refused}");
        self.owed(payment, &self.read(payment).await, 0);
        self.asker.tally.ends.add("paid request claimed");
    }

    async fn read(&self, payment: &Payment) -> Value {
        let Payment { at, proof, .. } = payment;
        let (status, read) = self.asker.ask_proving(Some(proof), "GET", at, None).await;
        assert_eq!(status, StatusCode::OK, "{read}");
        read
    }

    /// Takes in what is owed: what was paid and not charged.
    fn owed(&self, payment: &Payment, paid: &Value, cost_msats: u64) {
        assert_eq!(paid["paidMsats"], payment.sats * 1_000, "{paid}");
        let refund = paid["refund"]["amountSats"].as_u64().unwrap();
        assert_eq!(refund, (payment.sats * 1_000 - cost_msats) / 1_000, "{paid}");
        self.asker.tally.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
    }
}
