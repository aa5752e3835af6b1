//! Test helpers for identities.

use super::{Answer, TestApp};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use tithe_clock::Timestamp;
use tithe_trust::SecretKey;

/// The secret key number `n`.
pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32]).unwrap()
}

/// A signed event as a JSON object.
pub(crate) fn event(key: &SecretKey, kind: u16, tags: &[&[&str]], content: &str, at: Timestamp) -> Value {
    serde_json::from_str(&key.sign(kind, tags, content, at, [0; 32])).unwrap()
}

/// The `Authorization` header of an event with these tags and the hash of the body.
pub(crate) fn signature_of(key: &SecretKey, tags: &[&[&str]], body: &str, at: Timestamp) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    use base64::Engine as _;
    use sha2::Digest as _;
    let count = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    let hash = hex::encode(sha2::Sha256::digest(body));
    let mut all: Vec<&[&str]> = tags.to_vec();
    let (nonce, payload) = (["nonce", count.as_str()], ["payload", hash.as_str()]);
    all.push(&nonce);
    if !body.is_empty() {
        all.push(&payload);
    }
    let json = key.sign(27235, &all, "", at, [0; 32]);
    format!("Nostr {}", base64::engine::general_purpose::STANDARD.encode(json))
}

impl TestApp {
    /// The current time of the server's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.engine.ports().clock.now()
    }

    /// A nonce issued by the server.
    pub(crate) async fn nonce(&self) -> String {
        super::jobs::text(&self.post("/api/identity/challenge", "").await.ok(200)["nonce"])
    }

    /// The event that answers a challenge.
    pub(crate) fn answer_to(&self, nonce: &str, key: &SecretKey) -> Value {
        event(key, 22242, &[&["challenge", nonce]], "", self.now())
    }

    /// Sends a signed event.
    pub(crate) async fn verify(&self, event: &Value) -> Answer {
        self.post("/api/identity/verify", json!({ "event": event }).to_string()).await
    }

    /// Logs in and returns the token.
    pub(crate) async fn login(&self, key: &SecretKey) -> String {
        let event = self.answer_to(&self.nonce().await, key);
        super::jobs::text(&self.verify(&event).await.ok(200)["nostr_token"])
    }

    /// The `Authorization` header that signs one request.
    pub(crate) fn signature(&self, key: &SecretKey, method: &str, path: &str, body: &str) -> String {
        let url = self.url(path);
        signature_of(key, &[&["u", &url], &["method", method]], body, self.now())
    }

    /// A request with this token.
    pub(crate) fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("X-Nostr-Token", token)
    }

    /// Reads a path with this token.
    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send(self.request_as(token, Method::GET, path)).await
    }

    /// Posts a body with this token.
    pub(crate) async fn post_as(&self, token: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request_as(token, Method::POST, path).body(body)).await
    }

    /// Reads the identity of this token.
    pub(crate) async fn me(&self, token: &str) -> Value {
        self.get_as(token, "/api/identity/me").await.ok(200)
    }

    /// Creates a job with this token. Returns its id and the payment hash of its evaluation invoice.
    pub(crate) async fn job_create_as(&self, token: &str, request: &str) -> (String, String) {
        let body = json!({ "request": request }).to_string();
        let job = self.post_as(token, "/api/jobs", body).await.ok(201);
        let text = super::jobs::text;
        (text(&job["jobId"]), text(&job["evalInvoice"]["paymentHash"]))
    }

    /// Creates a job with this token and pays its evaluation.
    pub(crate) async fn job_begin_as(&self, token: &str, request: &str) -> String {
        let (id, hash) = self.job_create_as(token, request).await;
        self.pay(&hash).await;
        id
    }

    /// Reads the pool.
    pub(crate) async fn pool(&self) -> Value {
        self.get("/api/pool").await.ok(200)
    }
}
