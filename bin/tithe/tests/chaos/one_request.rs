//! A customer who pays for each request by itself, from a wallet of their own.

use crate::asker::Asker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tithe_lightning::{Bolt11, TestPayer, TestPaymentError};
use tithe_wallet_sim::SimWallet;

/// How often the same proof is sent at once, to whichever servers.
const AT_ONCE: u64 = 4;

/// One who pays for single requests.
pub(crate) struct OneRequestPayer {
    pub(crate) asker: Asker,
    /// It remembers what it has paid, whatever becomes of the servers.
    pub(crate) wallet: Arc<SimWallet>,
}

/// A payment for a request, and how it is proved.
struct Payment {
    path: &'static str,
    body: Value,
    /// What it is read and claimed at.
    payment: String,
    proof: String,
    sats: u64,
}

impl OneRequestPayer {
    /// Buys requests one by one. Some are paid for and not used, but claimed back.
    pub(crate) async fn buy_all(self, number: u64, requests: u64) {
        for n in 0..requests * 2 {
            let payment = self.paid(&format!("payer {number}, request {n}: why is the sky blue?")).await;
            if n % 5 == 4 {
                self.claim(&payment).await;
            } else {
                self.redeem(&payment).await;
            }
        }
    }

    /// Asks for something that nobody pays for, and pays for it. An invoice may expire before that.
    async fn paid(&self, text: &str) -> Payment {
        let (path, body) = match self.asker.random(2) {
            0 => ("/api/ask", json!({ "request": text, "maxOutputTokens": 60 })),
            _ => {
                let messages = json!([{ "role": "user", "content": text }]);
                (
                    "/v1/chat/completions",
                    json!({ "model": "sim-large", "messages": messages, "max_tokens": 60 }),
                )
            }
        };
        loop {
            let (status, unpaid) = self.asker.ask_proving(None, "POST", path, Some(&body)).await;
            assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{unpaid}");
            let offer = [&unpaid["offer"], &unpaid["error"]["metadata"]["offer"]];
            let offer =
                offer.into_iter().find(|offer| !offer.is_null()).unwrap_or_else(|| panic!("{unpaid}"));
            if let Some(invoice) = offer["invoice"]["paymentRequest"].as_str() {
                let invoice: Bolt11 = invoice.parse().unwrap();
                match self.wallet.pay(&invoice).await {
                    Ok(preimage) => {
                        let sats = offer["amountSats"].as_u64().unwrap();
                        self.asker.tally.paid_sats.fetch_add(sats, Ordering::SeqCst);
                        let proof = offer["authorization"].as_str().unwrap();
                        let proof = proof.replace("<preimage>", &preimage.reveal());
                        let payment = offer["links"]["payment"].as_str().unwrap().to_owned();
                        return Payment { path, body, payment, proof, sats };
                    }
                    Err(TestPaymentError::Expired(_)) => {}
                    Err(failure) => panic!("{failure:?}: {offer}"),
                }
            } else {
                let unavailable = offer["unavailable"].as_str().unwrap_or_else(|| panic!("{unpaid}"));
                self.asker.tally.retries.add(&format!("402 {unavailable}"));
            }
            self.asker.pause().await;
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
        self.asker.tally.ends.add("paid request complete");
    }

    async fn answer(&self, payment: &Payment) -> Value {
        let Payment { path, body, proof, .. } = payment;
        loop {
            let (status, reply) = self.asker.ask_proving(Some(proof), "POST", path, Some(body)).await;
            match status {
                StatusCode::OK => return reply,
                // The server lost its hold while the database was away. Nothing was charged.
                StatusCode::BAD_GATEWAY => self.asker.tally.retries.add("502 of a paid request"),
                other => panic!("{other} {reply}"),
            }
            self.asker.pause().await;
        }
    }

    /// Claims all of a payment that was not used. Then it buys nothing any more.
    async fn claim(&self, payment: &Payment) {
        let Payment { path, body, proof, payment: at, .. } = payment;
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
        let Payment { payment: at, proof, .. } = payment;
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
