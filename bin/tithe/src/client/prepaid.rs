//! Sessions with a prepaid balance.

use super::bodies::{ClosedSession, History, OpenedSession, PrepaidSession, SessionKeys, ToppedUp};
use super::failure::Failure;
use super::refunds::destination_json;
use super::requests::Client;
use super::sse::Events;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::error::Error;
use tithe_payouts::{Destination, LightningAddress};
use tithe_paywall::Macaroon;

/// How many requests are read at once: the most that a server sends.
const HISTORY_PAGE: &str = "20";

/// A macaroon, and the session that it is for.
pub(crate) struct SessionAccess {
    pub(crate) session: String,
    pub(crate) macaroon: String,
}

impl SessionAccess {
    /// What opens the session that a macaroon is for.
    pub(crate) fn of(macaroon: &str) -> Result<Self, Box<dyn Error>> {
        let text = macaroon.trim();
        let macaroon: Macaroon = text.parse()?;
        let identifier = std::str::from_utf8(macaroon.identifier()).ok();
        let session = identifier.and_then(|identifier| identifier.strip_prefix("session:"));
        let session = session.ok_or("invalid macaroon: expected one of a session")?.to_owned();
        Ok(Self { session, macaroon: text.to_owned() })
    }
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

    /// A page of what was done and charged, newest first; the first one without a cursor.
    pub(crate) async fn session_requests(
        &self,
        access: &SessionAccess,
        cursor: Option<&str>,
    ) -> Result<History, Failure> {
        let mut url = self.url(&["api", "sessions", &access.session, "requests"]);
        url.query_pairs_mut()
            .append_pair("limit", HISTORY_PAGE)
            .extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        self.read_patiently(|| self.http.get(url.clone()).bearer_auth(&access.macaroon)).await
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
