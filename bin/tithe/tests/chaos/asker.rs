//! Asking whichever server until one answers, as whoever one is.

use crate::tally::Tally;
use crate::{any_of, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SeededEntropy, SystemClock};
use tithe_paywall::payment::Challenge;
use tithe_trust::{NostrPubkey, SecretKey};

/// How one proves who one is.
pub(crate) enum Proof {
    /// By the token of a login, which expires soon.
    Token(Mutex<Option<String>>),
    /// By signing each request (NIP-98).
    EachRequest,
}

/// Somebody who is not anonymous.
pub(crate) struct Who {
    pub(crate) key: SecretKey,
    pub(crate) proof: Proof,
}

/// Somebody who asks.
pub(crate) struct Asker {
    http: Client,
    addresses: Vec<String>,
    pub(crate) tally: Arc<Tally>,
    entropy: SeededEntropy,
    who: Option<Who>,
    install: Option<String>,
}

impl Asker {
    pub(crate) fn new(
        addresses: Vec<String>,
        tally: Arc<Tally>,
        entropy: SeededEntropy,
        who: Option<Who>,
    ) -> Self {
        // A server that says nothing for so long hangs, which is no answer.
        let http = Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        Self { http, addresses, tally, entropy, who, install: None }
    }

    /// The same one, as an install of an app.
    pub(crate) fn with_install(self, id: String) -> Self {
        Self { install: Some(id), ..self }
    }

    pub(crate) fn pubkey(&self) -> Option<NostrPubkey> {
        self.who.as_ref().map(|who| who.key.pubkey())
    }

    pub(crate) fn random(&self, below: u64) -> u64 {
        random(&self.entropy, 0, below)
    }

    /// Reads until there is something to read.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Asks until there is an answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        post: Option<(&Value, &str)>,
    ) -> (StatusCode, Value) {
        self.ask_with(None, method, path, post).await
    }

    /// Asks with a macaroon until there is an answer.
    pub(crate) async fn ask_with(
        &self,
        macaroon: Option<&str>,
        method: &str,
        path: &str,
        post: Option<(&Value, &str)>,
    ) -> (StatusCode, Value) {
        let body = post.map_or_else(Vec::new, |(body, _)| body.to_string().into_bytes());
        loop {
            let mut request = self.request(macaroon, method, path, &body).await;
            if let Some((_, key)) = post {
                request = request.header("Idempotency-Key", key).header("Content-Type", "application/json");
            }
            let request = request.body(body.clone());
            match self.send(request).await {
                Some((StatusCode::UNAUTHORIZED, refused)) => self.forget_token(&refused),
                Some((StatusCode::CONFLICT, answer)) if answer["code"] == "request_in_progress" => {
                    self.tally.retries.add("409 request_in_progress");
                }
                Some((status, answer)) => {
                    // A session has one top-up at a time, and needs no key for it.
                    if let Some((_, key)) = post
                        && status.is_success()
                        && !path.ends_with("/topup")
                    {
                        self.tally.answer(key, status.as_u16());
                    }
                    return (status, answer);
                }
                None => {}
            }
            self.pause().await;
        }
    }

    /// Asks with a proof of payment, or without, until there is an answer. No key is needed: the payment is what is done once.
    pub(crate) async fn ask_proving(
        &self,
        proof: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        loop {
            let mut request = self.http.request(method.parse().unwrap(), self.url(path));
            if let Some(proof) = proof {
                request = request.header("Authorization", proof);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            match self.send(request).await {
                Some((StatusCode::CONFLICT, answer)) if code(&answer) == "request_in_progress" => {
                    self.tally.retries.add("409 request_in_progress");
                }
                Some(answered) => return answered,
                None => {}
            }
            self.pause().await;
        }
    }

    /// Sends a request that nobody pays for until there is the challenge of a session of the scheme `Payment`.
    pub(crate) async fn session_challenge(&self, path: &str, body: &Value) -> Challenge {
        loop {
            let request = self.http.post(self.url(path)).json(body);
            if let Some((status, headers, answer)) = self.send_whole(request).await {
                assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{answer}");
                let lines = headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap());
                let challenges: Vec<Challenge> = lines.flat_map(Challenge::parse_all).collect();
                if let Some(session) = challenges.into_iter().find(|it| it.session_terms().is_some()) {
                    return session;
                }
                self.tally.retries.add("402 without a session");
            }
            self.pause().await;
        }
    }

    /// A request to any of the servers, with what proves who asks. The body is still to be added.
    pub(crate) async fn request(
        &self,
        macaroon: Option<&str>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> RequestBuilder {
        let url = self.url(path);
        let request = self.http.request(method.parse().unwrap(), &url);
        let request = match macaroon {
            Some(macaroon) => request.bearer_auth(macaroon),
            None => self.proved(request, method, &url, body).await,
        };
        match &self.install {
            Some(install) => request.header("X-Install-Id", install),
            None => request,
        }
    }

    /// What was paid in the end: an invoice may expire while no server answers.
    pub(crate) async fn pay(&self, invoice: &Value) -> u64 {
        let hash = invoice["paymentHash"].as_str().unwrap();
        let (status, answer) = self.ask("POST", &format!("/dev/stub/pay/{hash}"), None).await;
        match status {
            StatusCode::OK => return invoice["amountSats"].as_u64().unwrap(),
            // An earlier try was carried out, but its answer was lost; or it is too late.
            StatusCode::CONFLICT => assert_eq!(answer["code"], "not_payable", "{answer}"),
            other => panic!("paying: {other} {answer}"),
        }
        loop {
            let seen = self.get(&format!("/api/invoices/{hash}")).await;
            match seen["state"].as_str().unwrap() {
                "paid" => return invoice["amountSats"].as_u64().unwrap(),
                "expired" => return 0,
                _ => self.pause().await,
            }
        }
    }

    /// Pays a hold invoice: its payment waits until it is taken, or comes back.
    pub(crate) async fn pay_held(&self, invoice: &Value) {
        let hash = invoice["paymentHash"].as_str().unwrap();
        let (status, answer) = self.ask("POST", &format!("/dev/stub/pay/{hash}"), None).await;
        let waits = status == StatusCode::CONFLICT && answer["code"] == "not_payable";
        assert!(waits || status == StatusCode::OK, "paying: {status} {answer}");
    }

    /// What was taken of the payment of a hold invoice, once that is over.
    pub(crate) async fn taken(&self, invoice: &Value) -> u64 {
        let hash = invoice["paymentHash"].as_str().unwrap();
        let seen = self.get(&format!("/api/invoices/{hash}")).await;
        if seen["state"] == "paid" { invoice["amountSats"].as_u64().unwrap() } else { 0 }
    }

    /// A token.
    async fn log_in(&self, who: &Who) -> String {
        loop {
            // Whether a nonce was used when its answer was lost is not known: each try asks for another.
            if let Some(token) = self.try_to_log_in(who).await {
                return token;
            }
            self.pause().await;
        }
    }

    async fn try_to_log_in(&self, who: &Who) -> Option<String> {
        let (status, challenge) = self.send(self.http.post(self.url("/api/identity/challenge"))).await?;
        assert_eq!(status, StatusCode::OK, "{challenge}");
        let nonce = challenge["nonce"].as_str().unwrap().parse().unwrap();
        let event: Value =
            serde_json::from_str(&who.key.login(nonce, &self.url("/"), SystemClock.now(), self.bytes()))
                .unwrap();
        let verify = self.http.post(self.url("/api/identity/verify")).json(&json!({ "event": event }));
        let (status, verified) = self.send(verify).await?;
        assert_eq!(status, StatusCode::OK, "{verified}");
        verified["nostr_token"].as_str().map(str::to_owned)
    }

    /// The request, with what proves who asks.
    async fn proved(&self, request: RequestBuilder, method: &str, url: &str, body: &[u8]) -> RequestBuilder {
        match &self.who {
            None => request,
            Some(who @ Who { proof: Proof::Token(token), .. }) => {
                let known = token.lock().unwrap().clone();
                let valid = match known {
                    Some(known) => known,
                    None => self.log_in(who).await,
                };
                *token.lock().unwrap() = Some(valid.clone());
                request.header("X-Nostr-Token", valid)
            }
            Some(Who { key, proof: Proof::EachRequest }) => {
                let hash = hex::encode(Sha256::digest(body));
                // Without it two tries in the same second would be the same event, which is good once.
                let salt = hex::encode(self.bytes());
                let tags: [&[&str]; 4] =
                    [&["u", url], &["method", method], &["nonce", &salt], &["payload", &hash]];
                let tags = if body.is_empty() { &tags[..3] } else { &tags };
                let event = key.sign(27235, tags, "", SystemClock.now(), self.bytes());
                request.header("Authorization", format!("Nostr {}", STANDARD.encode(event)))
            }
        }
    }

    /// A token that has expired is replaced. Nothing else that one presents is ever refused.
    pub(crate) fn forget_token(&self, refused: &Value) {
        match &self.who {
            Some(Who { proof: Proof::Token(token), .. }) if refused["code"] == "invalid_identity" => {
                *token.lock().unwrap() = None;
                self.tally.retries.add("401 invalid_identity");
            }
            _ => panic!("{refused}"),
        }
    }

    /// An answer; `None` if one must try again: the connection was lost, or the server says so, and when.
    async fn send(&self, request: RequestBuilder) -> Option<(StatusCode, Value)> {
        self.send_whole(request).await.map(|(status, _, body)| (status, body))
    }

    /// As [`Self::send`], with the headers of the answer.
    async fn send_whole(&self, request: RequestBuilder) -> Option<(StatusCode, HeaderMap, Value)> {
        let answered = async {
            let answer = request.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.text().await?))
        };
        let (status, headers, body) = match answered.await {
            Ok(answer) => answer,
            Err(lost) => {
                assert!(!lost.is_timeout(), "a server hangs: {lost:?}");
                self.tally.retries.add("lost connection");
                return None;
            }
        };
        let body: Value =
            serde_json::from_str(&body).unwrap_or_else(|wrong| panic!("{wrong}: {status} {body}"));
        if status != StatusCode::SERVICE_UNAVAILABLE {
            return Some((status, headers, body));
        }
        let wait = headers.get("retry-after");
        let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        assert!(seconds.is_some(), "a 503 says when to try again: {wait:?} {body}");
        self.tally.retries.add(&format!("503 {}", code(&body)));
        None
    }

    /// Sooner than they are asked to.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// A path on any of the servers.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.addresses[any_of(&self.addresses, &self.entropy)])
    }

    fn bytes(&self) -> [u8; 32] {
        let entropy: &dyn Entropy = &self.entropy;
        entropy.bytes()
    }
}

/// The code of a problem, in the shape of either API.
fn code(problem: &Value) -> &str {
    let code = problem["code"].as_str().or_else(|| problem["error"]["metadata"]["code"].as_str());
    code.unwrap_or_else(|| panic!("no code: {problem}"))
}
