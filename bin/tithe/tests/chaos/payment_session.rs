//! A customer who pays from a session of the scheme `Payment`, with a wallet of their own.

use crate::asker::Asker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tithe_lightning::{Bolt11, TestPayer, TestPaymentError};
use tithe_money::Sats;
use tithe_paywall::payment::{Challenge, SessionAction};
use tithe_wallet_sim::SimWallet;

/// How often the same credential is sent at once, to whichever servers.
const AT_ONCE: u64 = 4;

/// Where sessions are topped up and closed.
const ASK: &str = "/api/ask";

/// One who has a session.
pub(crate) struct DepositPayer {
    pub(crate) asker: Asker,
    /// It remembers what it has paid, whatever becomes of the servers.
    pub(crate) wallet: Arc<SimWallet>,
}

/// A deposit that was paid.
struct Deposit {
    challenge: Challenge,
    hash: [u8; 32],
    preimage: [u8; 32],
    sats: u64,
}

/// A session that was opened, and what has come of it so far.
struct Session {
    deposit: Deposit,
    /// The credential that has opened it.
    open: String,
    paid_sats: u64,
    charged_msats: u64,
}

/// Why a request was not done. Nothing was charged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NotDone {
    /// The challenge has expired.
    Expired,
    /// The session has too little left.
    Poor,
}

impl Session {
    fn action(&self, close: bool) -> SessionAction {
        let (session_id, preimage) = (self.deposit.hash, self.deposit.preimage);
        if close {
            SessionAction::Close { session_id, preimage }
        } else {
            SessionAction::Bearer { session_id, preimage }
        }
    }
}

impl DepositPayer {
    /// Opens a session, spends it, tops it up, and closes it. What was paid is what was charged and what is refunded.
    pub(crate) async fn buy_all(self, number: u64, requests: u64) {
        let mut session = loop {
            if let Some(session) = self.opened(number).await {
                break session;
            }
        };
        for n in 0..requests * 2 {
            if n == requests {
                self.top_up(&mut session).await;
            }
            self.request(&mut session, &format!("depositor {number}, request {n}: why is the sky blue?"))
                .await;
        }
        self.close(session).await;
    }

    /// What is asked for, and where.
    fn any_request(&self, text: &str) -> (&'static str, Value) {
        if self.asker.random(2) == 0 {
            return (ASK, json!({ "request": text, "maxOutputTokens": 60 }));
        }
        let messages = json!([{ "role": "user", "content": text }]);
        ("/v1/chat/completions", json!({ "model": "sim-large", "messages": messages, "max_tokens": 60 }))
    }

    /// A request that nobody else sends: all customers share an address, and whoever repeats one that nobody pays for is slowed down.
    fn unique(&self, what: &str) -> Value {
        let text = format!("{what} {:016x}", self.asker.random(u64::MAX));
        json!({ "request": text, "maxOutputTokens": 60 })
    }

    /// A deposit that is offered to this request, and paid. An invoice may expire before that.
    async fn deposited(&self, path: &str, body: &Value) -> Deposit {
        loop {
            let challenge = self.asker.session_challenge(path, body).await;
            let terms = challenge.session_terms().unwrap();
            let Some(invoice) = terms.deposit_invoice else {
                self.asker.tally.retries.add("402 without a deposit");
                self.asker.pause().await;
                continue;
            };
            let invoice: Bolt11 = invoice.parse().unwrap();
            match self.wallet.pay(&invoice).await {
                Ok(preimage) => {
                    let (hash, sats) = (terms.payment_hash, terms.deposit_amount.unwrap().get());
                    self.asker.tally.paid_sats.fetch_add(sats, Ordering::SeqCst);
                    let preimage = hex::decode(preimage.reveal()).unwrap().try_into().unwrap();
                    return Deposit { challenge, hash, preimage, sats };
                }
                Err(TestPaymentError::Expired(_)) => {}
                Err(failure) => panic!("{failure:?}: {invoice}"),
            }
            self.asker.pause().await;
        }
    }

    /// A session that was opened with the answer to its first request; `None` if the payment was reported so late that its deposit had
    /// expired: then it is all refunded.
    async fn opened(&self, number: u64) -> Option<Session> {
        let text = format!("depositor {number}, opening {:016x}: why?", self.asker.random(u64::MAX));
        let (path, body) = self.any_request(&text);
        let deposit = self.deposited(path, &body).await;
        let return_invoice = self.wallet.invoice(Sats::ZERO).await.unwrap().as_str().to_owned();
        let open = SessionAction::Open { preimage: deposit.preimage, return_invoice };
        let open = deposit.challenge.answer_session(&open);
        let paid_sats = deposit.sats;
        let mut session = Session { deposit, open, paid_sats, charged_msats: 0 };
        match self.done(&session.open, path, &body).await {
            Ok(cost) => {
                session.charged_msats = cost;
                Some(session)
            }
            Err(_ended) => {
                self.is_refunded(&session.deposit, &session.open).await;
                None
            }
        }
    }

    /// Takes in that nothing of a deposit was used.
    async fn is_refunded(&self, deposit: &Deposit, credential: &str) {
        let view = self.read(deposit, credential).await;
        assert_eq!((&view["paidMsats"], &view["chargedMsats"]), (&json!(deposit.sats * 1_000), &json!(0)));
        assert_eq!(view["refund"]["amountSats"], deposit.sats, "{view}");
        self.asker.tally.owed_back_sats.fetch_add(deposit.sats, Ordering::SeqCst);
        self.asker.tally.ends.add("deposit reported too late");
    }

    /// What became of a deposit.
    async fn read(&self, deposit: &Deposit, credential: &str) -> Value {
        let path = format!("/api/payments/{}", hex::encode(deposit.hash));
        let (status, view) = self.asker.ask_proving(Some(credential), "GET", &path, None).await;
        assert_eq!(status, StatusCode::OK, "{view}");
        view
    }

    /// Has a request done, whatever that takes.
    async fn request(&self, session: &mut Session, text: &str) {
        let (path, body) = self.any_request(text);
        loop {
            // As clients do that do not know the price.
            let challenge = self.asker.session_challenge(path, &body).await;
            let bearer = challenge.answer_session(&session.action(false));
            match self.done(&bearer, path, &body).await {
                Ok(cost) => {
                    session.charged_msats += cost;
                    self.asker.tally.ends.add("deposit request complete");
                    return;
                }
                Err(NotDone::Expired) => self.asker.tally.retries.add("402 challenge expired"),
                Err(NotDone::Poor) => self.top_up(session).await,
            }
        }
    }

    /// Sends a request with a credential, several times at once: it is done once. Returns what it cost, in msats.
    async fn done(&self, credential: &str, path: &str, body: &Value) -> Result<u64, NotDone> {
        let answers = (0..AT_ONCE).map(|_| self.answer(credential, path, body));
        let answers = futures_util::future::join_all(answers).await;
        let Some(first) = answers.iter().find_map(|answer| answer.as_ref().ok()) else {
            return Err(answers.into_iter().find_map(Result::err).unwrap());
        };
        for answer in &answers {
            // One that came when the challenge had just expired, or when there was too little left.
            assert!(
                answer.as_ref().is_err() || answer.as_ref().ok() == Some(first),
                "one credential, one answer"
            );
        }
        assert!(self.answer(credential, path, body).await.ok().as_ref() == Some(first), "and again");
        let cost = [&first["costMsats"], &first["usage"]["cost_msats"]];
        let cost = cost.into_iter().find_map(Value::as_u64).unwrap_or_else(|| panic!("{first}"));
        assert!(cost > 0, "{first}");
        Ok(cost)
    }

    async fn answer(&self, credential: &str, path: &str, body: &Value) -> Result<Value, NotDone> {
        loop {
            let (status, reply) = self.asker.ask_proving(Some(credential), "POST", path, Some(body)).await;
            let facts = if reply["error"].is_object() { &reply["error"]["metadata"] } else { &reply };
            match status {
                StatusCode::OK => return Ok(reply),
                // The server lost its hold while the database was away. Nothing was charged.
                StatusCode::BAD_GATEWAY => self.asker.tally.retries.add("502 of a deposit's request"),
                StatusCode::PAYMENT_REQUIRED if facts["code"] == "insufficient_balance" => {
                    return Err(NotDone::Poor);
                }
                StatusCode::PAYMENT_REQUIRED if facts["code"] == "payment_ended" => {
                    let problem = facts["problem"].as_str().unwrap_or_else(|| panic!("{reply}"));
                    let known = ["/challenge-expired", "/session-closed"];
                    assert!(known.iter().any(|known| problem.ends_with(known)), "{reply}");
                    return Err(NotDone::Expired);
                }
                other => panic!("{other} {reply}"),
            }
            self.asker.pause().await;
        }
    }

    /// Tops a session up, unless the payment was reported so late that its deposit had expired: then it is claimed.
    async fn top_up(&self, session: &mut Session) {
        let deposit = self.deposited(ASK, &self.unique("top up")).await;
        let (session_id, top_up_preimage) = (session.deposit.hash, deposit.preimage);
        let credential =
            deposit.challenge.answer_session(&SessionAction::TopUp { session_id, top_up_preimage });
        for _twice in 0..2 {
            let (status, reply) = self.asker.ask_proving(Some(&credential), "GET", ASK, None).await;
            if status == StatusCode::PAYMENT_REQUIRED {
                assert_eq!(reply["code"], "payment_ended", "{reply}");
                self.is_refunded(&deposit, &credential).await;
                return;
            }
            assert_eq!((status, &reply["status"]), (StatusCode::OK, &json!("ok")), "{reply}");
        }
        session.paid_sats += deposit.sats;
        self.asker.tally.ends.add("deposit moved");
    }

    /// Closes a session. What is left is due to its return invoice, whether it was paid yet or not.
    async fn close(&self, session: Session) {
        let challenge = self.asker.session_challenge(ASK, &self.unique("close")).await;
        let close = challenge.answer_session(&session.action(true));
        let (status, closed) = self.asker.ask_proving(Some(&close), "GET", ASK, None).await;
        assert_eq!((status, &closed["status"]), (StatusCode::OK, &json!("closed")), "{closed}");
        let view = self.read(&session.deposit, &session.open).await;
        let Session { paid_sats, charged_msats, .. } = session;
        assert_eq!(view["paidMsats"], paid_sats * 1_000, "{view}");
        assert_eq!(view["chargedMsats"], charged_msats, "{view}");
        let refund = view["refund"]["amountSats"].as_u64().unwrap();
        assert_eq!(refund, (paid_sats * 1_000 - charged_msats) / 1_000, "{view}");
        self.asker.tally.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
        self.asker.tally.ends.add("deposit session closed");
    }
}
