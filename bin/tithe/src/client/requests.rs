//! A server, and the requests that a customer makes to it.

use super::bodies::{Created, Estimate, Problem, parse};
use super::failure::Failure;
use super::session::Session;
use super::sse::Events;
use clap::Args;
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The maximum number of attempts while the server is unreachable, and the pause between two attempts.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Where a server listens unless it is told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8402";

/// The server to use.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// The server's address
    #[arg(long, value_name = "URL", env = "TITHE_SERVER", default_value = DEFAULT_SERVER)]
    pub(crate) server: String,
}

impl ServerArgs {
    /// The option that names this server in a command, with a space before it; empty for the default.
    pub(crate) fn option(&self) -> String {
        if self.server == DEFAULT_SERVER { String::new() } else { format!(" --server {}", self.server) }
    }
}

/// A server, as a customer sees it.
pub(crate) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) server: reqwest::Url,
    pub(super) session: Option<Session>,
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

    /// The URL of a path below the server's address.
    pub(crate) fn at(&self, path: &str) -> reqwest::Url {
        self.url(&path.trim_start_matches('/').split('/').collect::<Vec<_>>())
    }

    /// That the server answers at all.
    pub(crate) async fn reach(&self, patience: Duration) -> Result<(), Failure> {
        let asked = self.http.get(self.at("healthz")).timeout(patience).send().await;
        asked.map(drop).map_err(|source| self.unreachable(source))
    }

    /// A request as it is: it is neither authenticated nor repeated, and no response is an error.
    pub(crate) fn request(&self, method: Method, url: reqwest::Url) -> RequestBuilder {
        self.http.request(method, url)
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
        self.read_authenticated(|| self.http.get(url.clone())).await
    }

    /// Creates a job, with an idempotency key so that a retry does not create a second one. `held`: its work is to be paid with a hold
    /// invoice.
    pub(crate) async fn create(
        &self,
        request: &str,
        model: Option<&str>,
        max_output_tokens: Option<u64>,
        held: bool,
        key: &str,
    ) -> Result<Created, Failure> {
        let body = serde_json::json!({
            "request": request,
            "model": model,
            "maxOutputTokens": max_output_tokens,
            "payment": held.then_some("held"),
        });
        let ask = || self.http.post(self.url(&["api", "jobs"])).header("Idempotency-Key", key).json(&body);
        let mut tries = 1;
        loop {
            match self.read_authenticated(ask).await {
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
                // An earlier attempt, whose response was lost, has paid it.
                Ok(_) | Err(Failure::Problem { status: 409, .. }) => return Ok(()),
                Err(Failure::Problem { status: 404, code, .. }) => return Err(Failure::no_play_money(code)),
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

    pub(super) fn url(&self, path: &[&str]) -> reqwest::Url {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(super) async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let text = self.answer(request).await?.text().await.map_err(|source| self.unreachable(source))?;
        parse(&text)
    }

    /// Like [`Client::read`], and tries again while the server is away for a moment.
    pub(super) async fn read_patiently<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            match self.read(request()).await {
                Err(failure) if failure.may_pass() && tries < TRIES => tries += 1,
                other => return other,
            }
            self.pause().await;
        }
    }

    pub(super) async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let problem = serde_json::from_str(&text).unwrap_or_else(|_| Problem {
            status: status.as_u16(),
            code: "unknown".to_owned().into(),
            detail: status.canonical_reason().unwrap_or("unknown error").to_owned().into(),
        });
        Err(Failure::Problem { status: status.as_u16(), code: problem.code, detail: problem.detail })
    }

    fn unreachable(&self, source: reqwest::Error) -> Failure {
        Failure::NoServer { server: self.server.to_string(), source: source.without_url() }
    }
}
