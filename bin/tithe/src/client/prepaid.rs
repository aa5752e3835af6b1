//! Sessions with a prepaid balance.

use super::bodies::{ClosedSession, OpenedSession, PrepaidSession, SessionKeys, SessionReply, ToppedUp};
use super::failure::Failure;
use super::requests::Client;
use super::sse::Events;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

/// A macaroon, and the session that it is for.
pub(crate) struct Opener {
    pub(crate) session: String,
    pub(crate) macaroon: String,
}

/// What a request of a session asks for.
pub(crate) struct Wish<'a> {
    pub(crate) request: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) max_output_tokens: Option<u64>,
}

impl Client {
    pub(crate) async fn session_open(&self, sats: u64, key: &str) -> Result<OpenedSession, Failure> {
        let body = json!({ "amountSats": sats });
        let url = self.url(&["api", "sessions"]);
        self.read_authenticated(|| self.http.post(url.clone()).header("Idempotency-Key", key).json(&body))
            .await
    }

    pub(crate) async fn session_show(&self, opener: &Opener) -> Result<PrepaidSession, Failure> {
        self.read(self.of_session(opener, Method::GET, &[])).await
    }

    pub(crate) async fn session_top_up(&self, opener: &Opener, sats: u64) -> Result<ToppedUp, Failure> {
        let request = self.of_session(opener, Method::POST, &["topup"]);
        self.read(request.json(&json!({ "amountSats": sats }))).await
    }

    pub(crate) async fn session_close(&self, opener: &Opener) -> Result<ClosedSession, Failure> {
        self.read(self.of_session(opener, Method::POST, &["close"])).await
    }

    pub(crate) async fn session_keys(&self, opener: &Opener) -> Result<SessionKeys, Failure> {
        self.read(self.of_session(opener, Method::GET, &["keys"])).await
    }

    pub(crate) async fn session_revoke(&self, opener: &Opener, key: &str) -> Result<(), Failure> {
        self.answer(self.of_session(opener, Method::DELETE, &["keys", key])).await.map(drop)
    }

    /// Has a request done, as a stream of events.
    pub(crate) async fn session_ask(
        &self,
        opener: &Opener,
        wish: &Wish<'_>,
        key: &str,
    ) -> Result<Events, Failure> {
        let request = self.of_session(opener, Method::POST, &["request"]);
        let body = json!({
            "request": wish.request,
            "model": wish.model,
            "maxOutputTokens": wish.max_output_tokens,
        });
        let request = request.header("Accept", "text/event-stream").header("Idempotency-Key", key);
        Ok(Events::new(self.answer(request.json(&body)).await?))
    }

    fn of_session(&self, opener: &Opener, method: Method, path: &[&str]) -> RequestBuilder {
        let path = [&["api", "sessions", &opener.session], path].concat();
        self.http.request(method, self.url(&path)).bearer_auth(&opener.macaroon)
    }
}

/// The end of a streamed request.
pub(crate) fn reply(data: &str) -> Result<SessionReply, Failure> {
    super::parse(data)
}
