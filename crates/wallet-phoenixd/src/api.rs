//! Requests to phoenixd's HTTP API, and what is known when one fails.

use crate::answers::NodeInfo;
use crate::settings::{HttpPassword, PhoenixdSettings};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tithe_lightning::WalletError;
use url::Url;

/// A page of payments is far smaller.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much of an unexpected answer is shown to the operator.
const EXCERPT_CHARS_MAX: usize = 200;
/// Less than any sensible time limit, so that a failure to connect is recognised as such.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// phoenixd closes idle connections after 45 seconds. A request on one that is just being closed would be lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// phoenixd's own words when it knows no such payment.
const NOT_FOUND: &str = "Not found";

/// Any error, as the port's errors hold it.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An answer that is not the expected one.
#[derive(Debug, thiserror::Error)]
#[error("unexpected response: status {}: {text}", status.as_u16())]
pub(crate) struct Unexpected {
    status: StatusCode,
    text: String,
}

/// A response was longer than any of phoenixd's.
#[derive(Debug, thiserror::Error)]
#[error("response too large: expected at most {BODY_BYTES_MAX} bytes")]
struct TooLarge;

/// A complete response.
pub(crate) struct Reply {
    pub status: StatusCode,
    body: Vec<u8>,
}

impl Reply {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The beginning of the text, on one line.
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let visible = text.trim().chars().map(|each| if each.is_control() { ' ' } else { each });
        visible.take(EXCERPT_CHARS_MAX).collect()
    }

    pub fn unexpected(&self) -> Unexpected {
        Unexpected { status: self.status, text: self.excerpt() }
    }
}

/// The reason why there is no response.
enum Broken {
    /// Nothing was sent.
    NotSent(Cause),
    /// The request, or a part of it, may have been sent.
    Lost(Cause),
}

/// phoenixd's HTTP API.
pub(crate) struct Api {
    client: Client,
    base: Url,
    password: HttpPassword,
    timeout: Duration,
}

impl Api {
    pub fn new(settings: &PhoenixdSettings) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout / 2))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            // The password is for phoenixd alone.
            .no_proxy()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            base: settings.url.clone(),
            password: settings.password.clone(),
            timeout: settings.timeout,
        })
    }

    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub const fn password(&self) -> &HttpPassword {
        &self.password
    }

    /// The URL of `path` below the base, which has no leading slash.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let above = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{above}/{path}"));
        url
    }

    /// `GET /getinfo`.
    pub async fn node_info(&self) -> Result<NodeInfo, WalletError> {
        self.read("getinfo", &[]).await
    }

    /// Reads what must be there.
    pub async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, WalletError> {
        let reply = self.get(path, query).await?;
        if reply.status == StatusCode::NOT_FOUND {
            let unexpected = reply.unexpected();
            return Err(WalletError::Nonsense(format!("{path}: {unexpected}")));
        }
        parsed(path, &reply)
    }

    /// Reads what may be missing. "Not found" is a statement about money, so it must come from phoenixd itself and not from a
    /// misconfigured proxy.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, WalletError> {
        let reply = self.get(path, &[]).await?;
        if reply.status != StatusCode::NOT_FOUND {
            return parsed(path, &reply).map(Some);
        }
        if reply.excerpt() != NOT_FOUND {
            self.node_info().await?;
        }
        Ok(None)
    }

    /// Makes a request that changes nothing. Failures of the connection and of the server are errors; any other response counts.
    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Reply, WalletError> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let reply = self.exchange(self.client.get(url)).await.map_err(|broken| match broken {
            Broken::NotSent(cause) | Broken::Lost(cause) => WalletError::Unavailable(Some(cause)),
        })?;
        let status = reply.status;
        if status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        {
            return Err(WalletError::Unavailable(Some(reply.unexpected().into())));
        }
        Ok(reply)
    }

    /// Makes a request that changes something. Any response counts: the caller knows what it says.
    pub async fn post(&self, path: &str, form: &[(&str, String)]) -> Result<Reply, WalletError> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .client
            .post(self.url(path))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        self.exchange(request).await.map_err(|broken| match broken {
            Broken::NotSent(cause) => WalletError::Unavailable(Some(cause)),
            Broken::Lost(cause) => WalletError::OutcomeUnknown(Some(cause)),
        })
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Reply, Broken> {
        let lost = |error: reqwest::Error| Broken::Lost(error.without_url().into());
        let request = request.basic_auth("", Some(self.password.reveal())).timeout(self.timeout);
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                Broken::NotSent(error.without_url().into())
            } else {
                lost(error)
            }
        })?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len().saturating_add(chunk.len()) > BODY_BYTES_MAX {
                return Err(Broken::Lost(TooLarge.into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, body })
    }
}

/// The content of a response to a request that changes nothing.
fn parsed<T: DeserializeOwned>(path: &str, reply: &Reply) -> Result<T, WalletError> {
    match reply.status {
        StatusCode::OK => reply
            .json()
            .map_err(|error| WalletError::Nonsense(format!("{path}: unreadable response: {error}"))),
        status if status.is_client_error() => Err(WalletError::Refused(reply.unexpected().to_string())),
        _ => Err(WalletError::Nonsense(format!("{path}: {}", reply.unexpected()))),
    }
}
