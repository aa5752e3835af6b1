//! The HTTP side of a customer.

mod bodies;
mod identity;
mod sse;

pub(crate) use bodies::{Created, Delta, Estimate, FreeTier, Invoice, Job, Me, Verified, parse};
pub(crate) use sse::{Event, Events};

use bodies::ProblemBody;
use clap::Args;
use identity::Session;
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How often something is tried on a server that is not there, and the pause between two tries.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Which server to talk to.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "TITHE_SERVER", default_value = "http://127.0.0.1:8402")]
    pub(crate) server: String,
}

/// Why a server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no server answers at {server}; is `tithe serve` running?")]
    NoServer { server: String, source: reqwest::Error },
    #[error("{server:?} is no server's URL; write http://host:port")]
    Url { server: String },
    #[error("the server says: {detail} ({status}, {code})")]
    Problem { status: u16, code: String, detail: String },
    #[error("what the server said is not understood")]
    Nonsense(#[source] serde_json::Error),
    #[error("the server wants something else signed than a nonce")]
    NoNonce,
    #[error("no connection can be made from this machine")]
    Client(#[source] reqwest::Error),
}

impl Failure {
    /// Whether trying again may help.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::NoServer { .. } | Self::Problem { status: 502..=504, .. })
    }
}

/// A server, as a customer sees it.
pub(crate) struct Client {
    http: reqwest::Client,
    server: reqwest::Url,
    session: Option<Session>,
}

impl Client {
    pub(crate) fn new(server: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Url { server: server.to_owned() };
        let url: reqwest::Url = server.parse().map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(wrong());
        }
        let http =
            reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).tcp_nodelay(true).build();
        Ok(Self { http: http.map_err(Failure::Client)?, server: url, session: None })
    }

    pub(crate) async fn estimate(
        &self,
        request: &str,
        model: Option<&str>,
        max_output_tokens: Option<u64>,
    ) -> Result<Estimate, Failure> {
        let mut url = self.url(&["api", "estimate"]);
        url.query_pairs_mut()
            .append_pair("request", request)
            .extend_pairs(model.map(|model| ("model", model)))
            .extend_pairs(max_output_tokens.map(|tokens| ("maxOutputTokens", tokens.to_string())));
        self.read_as_oneself(|| self.http.get(url.clone())).await
    }

    /// Asks for a job. With a key, so that trying again makes no second one.
    pub(crate) async fn create(
        &self,
        request: &str,
        model: Option<&str>,
        max_output_tokens: Option<u64>,
        key: &str,
    ) -> Result<Created, Failure> {
        let body = serde_json::json!({
            "request": request,
            "model": model,
            "maxOutputTokens": max_output_tokens,
        });
        let ask = || self.http.post(self.url(&["api", "jobs"])).header("Idempotency-Key", key).json(&body);
        let mut tries = 1;
        loop {
            match self.read_as_oneself(ask).await {
                Err(failure) if failure.may_pass() && tries < TRIES => tries += 1,
                Err(Failure::Problem { status: 409, code, .. })
                    if code == "request_in_progress" && tries < TRIES =>
                {
                    tries += 1;
                }
                other => return other,
            }
            self.pause().await;
        }
    }

    pub(crate) async fn pay_for_test(&self, payment_hash: &str) -> Result<(), Failure> {
        let mut tries = 1;
        loop {
            match self.answer(self.http.post(self.url(&["dev", "stub", "pay", payment_hash]))).await {
                // Paid by an earlier try whose answer was lost.
                Ok(_) | Err(Failure::Problem { status: 409, .. }) => return Ok(()),
                Err(Failure::Problem { status: 404, code, .. }) => {
                    let detail = "this server does not take play money; start it with TITHE_DEV=1".to_owned();
                    return Err(Failure::Problem { status: 404, code, detail });
                }
                Err(failure) if failure.may_pass() && tries < TRIES => tries += 1,
                Err(failure) => return Err(failure),
            }
            self.pause().await;
        }
    }

    pub(crate) async fn events(&self, job_id: &str, last_id: Option<&str>) -> Result<Events, Failure> {
        let mut request = self.http.get(self.url(&["api", "jobs", job_id, "events"]));
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        Ok(Events::new(self.answer(request).await?))
    }

    pub(crate) async fn pause(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    fn url(&self, path: &[&str]) -> reqwest::Url {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let text = self.answer(request).await?.text().await.map_err(|source| self.unreachable(source))?;
        parse(&text)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let problem = serde_json::from_str(&text).unwrap_or_else(|_| ProblemBody {
            code: "unknown".to_owned(),
            detail: status.canonical_reason().unwrap_or("something unknown").to_owned(),
        });
        Err(Failure::Problem { status: status.as_u16(), code: problem.code, detail: problem.detail })
    }

    fn unreachable(&self, source: reqwest::Error) -> Failure {
        Failure::NoServer { server: self.server.to_string(), source: source.without_url() }
    }
}
