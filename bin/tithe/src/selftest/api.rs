//! The server that is tested, and the requests that are made to it.

use super::answer::Answer;
use super::excerpt;
use super::observed::Observed;
use super::outcome::{Checked, Stop};
use crate::client::{Client, Events};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;
use std::cell::RefCell;
use std::time::Duration;
use tithe_clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
use tithe_trust::SecretKey;

/// The longest body that is read, in bytes.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// What a request accepts of the scheme `Payment`, if its check does not want more. The challenge of a session costs the server an invoice that
/// nobody pays, and of those there is room for a number of each address.
const ACCEPTED: &str = "lightning/charge";

/// The server.
pub(super) struct Api {
    client: Client,
    patience: Duration,
    observed: RefCell<Observed>,
}

impl Api {
    /// A server whose answers are waited for as long as `patience`.
    pub(super) fn new(client: Client, patience: Duration) -> Self {
        Self { client, patience, observed: RefCell::default() }
    }

    pub(super) fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(super) fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub(super) fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        let accepted = (HeaderName::from_static("accept-payment"), HeaderValue::from_static(ACCEPTED));
        let (path, headers) = (path.into(), HeaderMap::from_iter([accepted]));
        Call { api: self, method, path, query: Vec::new(), headers, body: None, signer: None }
    }

    /// The origin that signed logins name.
    pub(super) fn origin(&self) -> String {
        self.client.at("").origin().ascii_serialization()
    }

    /// What all answers so far have in common.
    pub(super) fn observed(&self) -> std::cell::Ref<'_, Observed> {
        self.observed.borrow()
    }
}

/// The current time.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// Fresh random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let entropy: &dyn Entropy = &SystemEntropy;
    entropy.bytes()
}

/// A fresh random text, such as for an idempotency key.
pub(super) fn random_text() -> String {
    hex::encode(random::<16>())
}

/// A request.
pub(super) struct Call<'a> {
    api: &'a Api,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    signer: Option<&'a SecretKey>,
}

impl<'a> Call<'a> {
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header; one that cannot be sent is left out.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            self.headers.append(name, value);
        }
        self
    }

    pub(super) fn bearer(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    /// Authenticates with the token of an identity.
    pub(super) fn token(self, token: &str) -> Self {
        self.header("x-nostr-token", token)
    }

    pub(super) fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.raw(body.to_string())
    }

    /// A body that need not be JSON, but says to be.
    pub(super) fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        if self.headers.contains_key(CONTENT_TYPE) {
            self
        } else {
            self.header("content-type", "application/json")
        }
    }

    /// Signs the request (NIP-98).
    pub(super) fn signed(mut self, key: &'a SecretKey) -> Self {
        self.signer = Some(key);
        self
    }

    /// The URL that the request goes to.
    pub(super) fn url(&self) -> Url {
        let mut url = self.api.client.at(&self.path);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    fn shown(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn build(&self) -> RequestBuilder {
        let url = self.url();
        let body = self.body.clone().unwrap_or_default();
        let mut headers = self.headers.clone();
        if let Some(key) = self.signer {
            let signature = key.http_auth(url.as_str(), self.method.as_str(), &body, now(), random());
            headers.extend(HeaderValue::from_str(&signature).ok().map(|value| (AUTHORIZATION, value)));
        }
        let request = self.api.client.request(self.method.clone(), url).headers(headers);
        let request = request.timeout(self.api.patience);
        if self.body.is_some() { request.body(body) } else { request }
    }

    /// Sends the request, and again if the server says that it came too soon.
    async fn response(&self) -> Checked<Response> {
        self.api.observed.borrow_mut().begun = Some(self.shown());
        loop {
            let response = self.build().send().await.map_err(|failure| no_answer(self.shown(), failure))?;
            let Some(pause) = pause(&response).filter(|pause| *pause < self.api.patience) else {
                return Ok(response);
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends the request, and reads the whole answer.
    pub(super) async fn send(self) -> Checked<Answer> {
        let mut response = self.response().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|failure| no_answer(self.shown(), failure))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > BODY_MAX {
                let expected = format!("a body of at most {BODY_MAX} bytes");
                return Err(Stop::fault(self.shown(), expected, "a longer one"));
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer::new(self.shown(), status, headers, text);
        self.api.observed.borrow_mut().note(&answer);
        Ok(answer)
    }

    /// Sends the request, and reads a stream of events. Any other answer is returned as it is.
    pub(super) async fn events(self) -> Checked<Result<Events, Answer>> {
        let call = self.header("accept", "text/event-stream");
        let response = call.response().await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if response.status().as_u16() == 200 && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
        {
            return Ok(Ok(Events::new(response)));
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.map_err(|failure| no_answer(call.shown(), failure))?;
        Ok(Err(Answer::new(call.shown(), status, headers, text)))
    }
}

/// How long to wait before a request that was not looked at, because its address sends too many, is sent again.
fn pause(response: &Response) -> Option<Duration> {
    if response.status().as_u16() != 429 {
        return None;
    }
    // Other reasons for 429 have longer pauses than is worth waiting for.
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    (1..=5).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn no_answer(request: String, failure: reqwest::Error) -> Stop {
    let failure = failure.without_url();
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(&failure);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Stop::fault(request, "an answer", format!("none ({})", excerpt::short(&text)))
}
