//! Sessions with a prepaid balance.

use super::bodies::{ClosedSession, OpenedSession, PrepaidSession, SessionKeys, ToppedUp};
use super::failure::Failure;
use super::refunds::destination_json;
use super::requests::Client;
use super::sse::Events;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tithe_payouts::{Destination, LightningAddress};

/// A macaroon, and the session that it is for.
pub(crate) struct SessionAccess {
    pub(crate) session: String,
    pub(crate) macaroon: String,
}

/// What a request of a session asks for.
pub(crate) struct AskRequest<'a> {
    pub(crate) request: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) max_output_tokens: Option<u64>,
}

impl Client {
    /// Opens a session. What it has left at its end is paid to `return_to`, if that is given.
    pub(crate) async fn session_open(
        &self,
        sats: u64,
        return_to: Option<&LightningAddress>,
        key: &str,
    ) -> Result<OpenedSession, Failure> {
        let return_to = return_to.map(|address| destination_json(&address.clone().into()));
        let body = match return_to {
            Some(return_to) => json!({ "amountSats": sats, "returnTo": return_to }),
            None => json!({ "amountSats": sats }),
        };
        let url = self.url(&["api", "sessions"]);
        self.read_authenticated(|| self.http.post(url.clone()).header("Idempotency-Key", key).json(&body))
            .await
    }

    pub(crate) async fn session_show(&self, access: &SessionAccess) -> Result<PrepaidSession, Failure> {
        self.read(self.of_session(access, Method::GET, &[])).await
    }

    pub(crate) async fn session_top_up(
        &self,
        access: &SessionAccess,
        sats: u64,
    ) -> Result<ToppedUp, Failure> {
        let request = self.of_session(access, Method::POST, &["topup"]);
        self.read(request.json(&json!({ "amountSats": sats }))).await
    }

    /// Closes a session, or says where the refund of a closed one is paid.
    pub(crate) async fn session_close(
        &self,
        access: &SessionAccess,
        return_to: Option<&Destination>,
    ) -> Result<ClosedSession, Failure> {
        let request = self.of_session(access, Method::POST, &["close"]);
        let request = match return_to {
            Some(destination) => request.json(&json!({ "returnTo": destination_json(destination) })),
            None => request,
        };
        self.read(request).await
    }

    pub(crate) async fn session_keys(&self, access: &SessionAccess) -> Result<SessionKeys, Failure> {
        self.read(self.of_session(access, Method::GET, &["keys"])).await
    }

    pub(crate) async fn session_revoke(&self, access: &SessionAccess, key: &str) -> Result<(), Failure> {
        self.answer(self.of_session(access, Method::DELETE, &["keys", key])).await.map(drop)
    }

    /// Has a request done, as a stream of events.
    pub(crate) async fn session_ask(
        &self,
        access: &SessionAccess,
        ask: &AskRequest<'_>,
        key: &str,
    ) -> Result<Events, Failure> {
        let request = self.of_session(access, Method::POST, &["request"]);
        let body = json!({
            "request": ask.request,
            "model": ask.model,
            "maxOutputTokens": ask.max_output_tokens,
        });
        let request = request.header("Accept", "text/event-stream").header("Idempotency-Key", key);
        Ok(Events::new(self.answer(request.json(&body)).await?))
    }

    fn of_session(&self, access: &SessionAccess, method: Method, path: &[&str]) -> RequestBuilder {
        let path = [&["api", "sessions", &access.session], path].concat();
        self.http.request(method, self.url(&path)).bearer_auth(&access.macaroon)
    }
}
