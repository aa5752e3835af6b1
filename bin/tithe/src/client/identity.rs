//! Authentication with a server.

use super::bodies::{Challenge, Me, Verified};
use super::failure::Failure;
use super::requests::Client;
use super::session::Session;
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tithe_trust::{Nonce, SecretKey};

impl Client {
    /// Logs in; later requests are authenticated as this identity.
    pub(crate) async fn log_in(&mut self, key: SecretKey) -> Result<Verified, Failure> {
        let verified = self.verify(&key).await?;
        self.session = Some(Session { key, token: RefCell::new(verified.token.to_string()) });
        Ok(verified)
    }

    /// The trust and budget of the identity that is logged in.
    pub(crate) async fn me(&self) -> Result<Me, Failure> {
        self.read_authenticated(|| self.http.get(self.url(&["api", "identity", "me"]))).await
    }

    /// Sends a request, authenticated if logged in. An expired token is renewed once.
    pub(super) async fn read_authenticated<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, Failure> {
        let Some(session) = &self.session else { return self.read(request()).await };
        let ask = || {
            let token = session.token.borrow().clone();
            self.read(request().header("X-Nostr-Token", token))
        };
        match ask().await {
            Err(Failure::Problem { status: 401, code, .. }) if code == "invalid_identity" => {}
            other => return other,
        }
        let renewed = self.verify(&session.key).await?;
        session.token.replace(renewed.token.to_string());
        ask().await
    }

    /// Logs in by signing the server's nonce together with the server's address, so that the signed event is valid only at this
    /// server.
    async fn verify(&self, key: &SecretKey) -> Result<Verified, Failure> {
        let challenge: Challenge =
            self.read(self.http.post(self.url(&["api", "identity", "challenge"]))).await?;
        // Sign nothing but a nonce, whatever the server sends.
        let nonce: Nonce = challenge.nonce.parse().map_err(|_| Failure::NoNonce)?;
        let server = self.server.origin().ascii_serialization();
        let entropy: &dyn Entropy = &SystemEntropy;
        let event = key.login(nonce, &server, SystemClock.now(), entropy.bytes());
        let event: serde_json::Value = serde_json::from_str(&event).map_err(Failure::Nonsense)?;
        let body = serde_json::json!({ "event": event });
        self.read(self.http.post(self.url(&["api", "identity", "verify"])).json(&body)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wiremock::matchers::{header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    fn key() -> SecretKey {
        SecretKey::from_bytes([42; 32]).unwrap()
    }

    async fn challenges_with(server: &MockServer, nonce: &str) {
        let answer = ResponseTemplate::new(200).set_body_json(json!({ "nonce": nonce }));
        Mock::given(path("/api/identity/challenge"))
            .and(method("POST"))
            .respond_with(answer)
            .mount(server)
            .await;
    }

    async fn gives_once(server: &MockServer, token: &str) {
        let trust = json!({ "tier": "new", "score": 0, "interactionCount": 0 });
        let verified = json!({ "nostr_token": token, "expiresAt": "2026-11-21T00:00:00Z", "trust": trust });
        let answer = ResponseTemplate::new(200).set_body_json(verified);
        let verify = Mock::given(path("/api/identity/verify")).and(method("POST"));
        verify.respond_with(answer).up_to_n_times(1).expect(1).mount(server).await;
    }

    async fn refuses(server: &MockServer, token: &str, code: &str) {
        let answer =
            ResponseTemplate::new(401).set_body_json(json!({ "code": code, "detail": "it expired" }));
        let me = Mock::given(path("/api/identity/me")).and(header("X-Nostr-Token", token));
        me.respond_with(answer).expect(1).mount(server).await;
    }

    async fn client(server: &MockServer) -> Client {
        let mut client = Client::new(&server.uri()).unwrap();
        client.log_in(key()).await.unwrap();
        client
    }

    #[tokio::test]
    async fn a_token_that_expired_is_renewed_and_what_was_asked_is_asked_again() {
        let server = MockServer::start().await;
        challenges_with(&server, &"ab".repeat(32)).await;
        gives_once(&server, "first").await;
        gives_once(&server, "second").await;
        refuses(&server, "first", "invalid_identity").await;
        let me = json!({
            "trust": { "tier": "elite", "score": 200.5, "nextTier": null, "pointsToNextTier": null },
            "freeTier": { "dailyBudgetSats": 1, "remainingTodaySats": 1, "resetsAt": null },
        });
        let answer = ResponseTemplate::new(200).set_body_json(me);
        let second = Mock::given(path("/api/identity/me")).and(header("X-Nostr-Token", "second"));
        second.respond_with(answer).expect(2).mount(&server).await;
        let client = client(&server).await;
        for _ in 0..2 {
            assert_eq!(client.me().await.unwrap().trust.score.to_string(), "200.5");
        }
    }

    #[tokio::test]
    async fn a_token_is_renewed_once_and_not_for_another_problem() {
        let server = MockServer::start().await;
        challenges_with(&server, &"ab".repeat(32)).await;
        gives_once(&server, "first").await;
        gives_once(&server, "second").await;
        refuses(&server, "first", "invalid_identity").await;
        refuses(&server, "second", "invalid_identity").await;
        let refused = client(&server).await.me().await.err().unwrap();
        assert_eq!(refused.to_string(), "the server responded: it expired (401, invalid_identity)");

        let server = MockServer::start().await;
        challenges_with(&server, &"ab".repeat(32)).await;
        gives_once(&server, "first").await;
        refuses(&server, "first", "identity_required").await;
        assert!(client(&server).await.me().await.is_err());
    }

    #[tokio::test]
    async fn a_nonce_is_signed_for_the_server_that_gave_it_and_nothing_else_is_signed() {
        let server = MockServer::start().await;
        challenges_with(&server, &"ab".repeat(32)).await;
        gives_once(&server, "first").await;
        client(&server).await;
        let asked = server.received_requests().await.unwrap();
        let body: serde_json::Value = asked.last().unwrap().body_json().unwrap();
        assert_eq!(body["event"]["tags"], json!([["relay", server.uri()], ["challenge", "ab".repeat(32)]]));

        let server = MockServer::start().await;
        challenges_with(&server, "I owe you a bitcoin").await;
        let refused = Client::new(&server.uri()).unwrap().log_in(key()).await.err().unwrap();
        assert!(matches!(refused, Failure::NoNonce), "{refused}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }
}
