//! The first requests to a new LNbits.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tithe_clock::{Entropy, SystemEntropy};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::error::{LnbitsError, log_tail};

/// A machine that builds at the same time is slow.
const START_LIMIT: Duration = Duration::from_mins(3);

const INTERVAL: Duration = Duration::from_millis(50);

/// What the log says when the server has given up.
const GIVEN_UP: [&str; 4] =
    ["Application startup failed", "error while attempting to bind", "Error loading ASGI app", "ImportError"];

/// A wallet of LNbits.
#[derive(Clone)]
pub struct LnbitsWallet {
    /// The id.
    pub id: String,
    /// The key that may do everything with the wallet.
    pub admin_key: String,
    /// The key that may make and look up invoices.
    pub invoice_key: String,
}

impl std::fmt::Debug for LnbitsWallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LnbitsWallet").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A client of the administrator.
pub struct Setup {
    port: u16,
    http: Client,
    token: OnceLock<String>,
}

impl Setup {
    pub fn at(port: u16) -> Self {
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap_or_default();
        Self { port, http, token: OnceLock::new() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until LNbits answers.
    pub async fn wait(&self, log: &Path) -> Result<(), LnbitsError> {
        let deadline = Instant::now() + START_LIMIT;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.http.get(format!("{}/api/v1/health", self.url())).send().await.is_ok() {
                return Ok(());
            }
            let log = log_tail(log);
            if Instant::now() >= deadline || GIVEN_UP.iter().any(|sign| log.contains(sign)) {
                return Err(LnbitsError::NotStarted { log });
            }
        }
    }

    /// Makes the first login, which everything else waits for, and a wallet.
    pub async fn first_wallet(&self) -> Result<LnbitsWallet, LnbitsError> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let password = hex::encode(entropy.bytes::<16>());
        let login = json!({ "username": "admin", "password": password, "password_repeat": password });
        let request = self.request(Method::PUT, "/api/v1/auth/first_install", &login);
        let answer = send("the first login", request).await?;
        let _ = self.token.set(field(&answer, "access_token", "the first login")?);
        self.wallet_create("merchant").await
    }

    pub async fn wallet_create(&self, name: &str) -> Result<LnbitsWallet, LnbitsError> {
        const DOING: &str = "a new wallet";
        let request = self.request(Method::POST, "/api/v1/wallet", &json!({ "name": name }));
        let token = self.token.get().map_or("", String::as_str);
        let answer = send(DOING, request.bearer_auth(token)).await?;
        Ok(LnbitsWallet {
            id: field(&answer, "id", DOING)?,
            admin_key: field(&answer, "adminkey", DOING)?,
            invoice_key: field(&answer, "inkey", DOING)?,
        })
    }

    fn request(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        self.http.request(method, self.url() + path).json(body)
    }
}

async fn send(doing: &'static str, request: RequestBuilder) -> Result<Value, LnbitsError> {
    let refused = |answer: String| LnbitsError::Refused { doing, answer };
    let response = request.send().await.map_err(|error| refused(error.to_string()))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| refused(error.to_string()))?;
    let json = serde_json::from_str(&body).ok().filter(|_| status.is_success());
    json.ok_or_else(|| refused(format!("{status} {body}")))
}

fn field(answer: &Value, name: &str, doing: &'static str) -> Result<String, LnbitsError> {
    let value = answer.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    value.ok_or_else(|| LnbitsError::Refused { doing, answer: format!("no {name}") })
}
