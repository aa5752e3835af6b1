//! Requests to LNbits.

use crate::failure::{ErrorBody, Lost, of_read};
use crate::record::Record;
use crate::settings::{ApiKey, LnbitsSettings};
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_lightning::{Bolt11, InvoiceRequest, PaymentHash, PaymentId, WalletError};
use tithe_money::Msats;
use url::Url;

/// The timeout of connecting. It is shorter than that of a request, so that "could not connect" is not mistaken for a lost response.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a response. A page of payments with the longest descriptions has about a megabyte.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The maximum number of records with one payment hash in one wallet: one for each direction, and a fee.
const RECORDS_MAX: usize = 10;

/// LNbits' message for a payment hash that it does not know, and for one of another wallet.
const NO_PAYMENT: &str = "Payment does not exist.";

/// The API of LNbits, for one wallet.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: Client,
    /// `…/api/v1/`
    base: Url,
    key: ApiKey,
    /// The key as a header, hidden from `Debug` and from logs.
    key_header: HeaderValue,
    timeout: Duration,
    send_timeout: Duration,
}

/// The reason why there can be no API at a URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("invalid URL: expected http(s)://host/path without credentials, query or fragment")]
    Url,
    #[error("cannot create the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

/// What LNbits knows of a payment after it has queried its funding source.
#[derive(Debug)]
pub(crate) enum Checked {
    /// This record. If the wallet has both directions, the outgoing payment.
    Record(Box<Record>),
    /// No record, or a wrong key: this request needs no key.
    NotOurs,
}

/// A page of the list of payments.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub data: Vec<Record>,
    /// The number of records in the list.
    pub total: usize,
}

impl Api {
    /// The API of the server in the settings.
    pub fn new(settings: &LnbitsSettings) -> Result<Self, ApiError> {
        let mut base = settings.url.clone();
        let is_plain = base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() || !is_plain {
            return Err(ApiError::Url);
        }
        let path = format!("{}/api/v1/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let client = Client::builder()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the key elsewhere, and LNbits sends one only before it has been set up.
            .redirect(redirect::Policy::none())
            // A WebSocket needs HTTP/1.1.
            .http1_only()
            .build()
            .map_err(ApiError::Client)?;
        let mut key_header = HeaderValue::from_str(settings.key.reveal()).map_err(|_| ApiError::Url)?;
        key_header.set_sensitive(true);
        Ok(Self {
            client,
            base,
            key: settings.key.clone(),
            key_header,
            timeout: settings.timeout,
            send_timeout: settings.send_timeout,
        })
    }

    /// The timeout of a request that sends no payment.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A request for the stream of the wallet's payments. Its URL has the key.
    pub fn events(&self) -> RequestBuilder {
        self.client.get(self.url(&["ws", self.key.reveal()]))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).header("X-Api-Key", self.key_header.clone()).timeout(self.timeout)
    }

    fn get(&self, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.request(Method::GET, url)
    }

    fn post(&self, path: &[&str], body: &Value) -> RequestBuilder {
        self.request(Method::POST, self.url(path)).json(body)
    }

    /// The value of a response with status 200 or 201.
    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, WalletError> {
        let reply = exchange(request).await.map_err(Lost::of_read)?;
        if !reply.status.is_success() {
            return Err(of_read(reply.status, &reply.body));
        }
        reply.json()
    }

    /// The balance in millisats. Pending outgoing payments and the fees reserved for them are already deducted.
    pub async fn balance(&self) -> Result<Msats, WalletError> {
        #[derive(Deserialize)]
        struct Wallet {
            balance: i64,
        }
        let Wallet { balance } = self.read(self.get(&["wallet"], &[])).await?;
        Msats::from_i64(balance).map_err(|_| {
            WalletError::Nonsense(format!("invalid balance: expected 0 or more, got {balance} msat"))
        })
    }

    /// Creates an invoice and returns its payment hash and payment request.
    pub async fn invoice_create(
        &self,
        request: &InvoiceRequest,
    ) -> Result<(PaymentHash, String), WalletError> {
        // The answer has the preimage too, which is not read.
        #[derive(Deserialize)]
        struct Created {
            payment_hash: PaymentHash,
            bolt11: String,
        }
        let id = request.id.to_string();
        let body = json!({
            "out": false,
            "unit": "sat",
            "amount": request.amount.get(),
            "memo": request.description,
            // LNbits takes 0 for its own default.
            "expiry": request.expiry.as_secs().max(1),
            "external_id": id,
            "extra": { "tithe_id": id },
        });
        let Created { payment_hash, bolt11 } = self.read(self.post(&["payments"], &body)).await?;
        Ok((payment_hash, bolt11))
    }

    /// The most that LNbits reserves and allows its funding source to charge for paying this request, with LNbits' own fee. Payments
    /// between LNbits' own wallets cost less.
    pub async fn fee_reserve(&self, request: &Bolt11) -> Result<Msats, WalletError> {
        #[derive(Deserialize)]
        struct Reserve {
            /// In millisats.
            fee_reserve: Msats,
        }
        let reserve = self.get(&["payments", "fee-reserve"], &[("invoice", request.as_str())]);
        let Reserve { fee_reserve } = self.read(reserve).await?;
        Ok(fee_reserve)
    }

    /// Pays a request.
    pub async fn pay(&self, id: PaymentId, request: &Bolt11) -> Result<Reply, Lost> {
        let id = id.to_string();
        let body = json!({
            "out": true,
            "bolt11": request.as_str(),
            "external_id": id,
            "extra": { "tithe_id": id },
        });
        exchange(self.post(&["payments"], &body).timeout(self.send_timeout)).await
    }

    /// The wallet's records with this payment hash, as LNbits has them.
    pub async fn records_of(&self, hash: PaymentHash) -> Result<Vec<Record>, WalletError> {
        let query = [("payment_hash", &*hash.to_string()), ("limit", &*RECORDS_MAX.to_string())];
        let page: Page = self.read(self.get(&["payments", "paginated"], &query)).await?;
        if let Some(other) = page.data.iter().find(|record| record.payment_hash != hash) {
            return Err(wrong_hash(hash, other.payment_hash));
        }
        if page.total > page.data.len() {
            return Err(WalletError::Nonsense(format!(
                "incomplete list: expected {} records of payment {hash}, got {}",
                page.total,
                page.data.len()
            )));
        }
        Ok(page.data)
    }

    /// Has LNbits query its funding source about a pending payment, and returns the record.
    pub async fn check(&self, hash: PaymentHash) -> Result<Checked, WalletError> {
        // `paid`, `status` and `preimage` beside it repeat what the record says, or less.
        #[derive(Deserialize)]
        struct Payment {
            #[serde(default)]
            details: Option<Box<Record>>,
        }
        let reply = exchange(self.get(&["payments", &hash.to_string()], &[])).await.map_err(Lost::of_read)?;
        if reply.status == StatusCode::NOT_FOUND
            && ErrorBody::parse(&reply.body).is_some_and(|body| body.message() == NO_PAYMENT)
        {
            return Ok(Checked::NotOurs);
        }
        if !reply.status.is_success() {
            return Err(of_read(reply.status, &reply.body));
        }
        let Payment { details } = reply.json()?;
        match details {
            None => Ok(Checked::NotOurs),
            Some(record) if record.payment_hash == hash => Ok(Checked::Record(record)),
            Some(other) => Err(wrong_hash(hash, other.payment_hash)),
        }
    }

    /// Whether the key may pay. LNbits shows the id of the wallet only to its admin key.
    pub async fn may_pay(&self) -> Result<bool, WalletError> {
        #[derive(Deserialize)]
        struct Wallet {
            #[serde(default)]
            id: Option<String>,
        }
        let Wallet { id } = self.read(self.get(&["wallet"], &[])).await?;
        Ok(id.is_some())
    }

    /// The last payment in any state.
    pub async fn last_record(&self) -> Result<Option<Record>, WalletError> {
        let query = [("sortby", "created_at"), ("direction", "desc"), ("limit", "1")];
        let page: Page = self.read(self.get(&["payments", "paginated"], &query)).await?;
        Ok(page.data.into_iter().next())
    }

    /// A page of the payments that succeeded, the last changed first.
    pub async fn succeeded(&self, offset: usize, limit: usize) -> Result<Page, WalletError> {
        let query = [
            ("status", "success"),
            ("sortby", "updated_at"),
            ("direction", "desc"),
            ("offset", &offset.to_string()),
            ("limit", &limit.to_string()),
        ];
        self.read(self.get(&["payments", "paginated"], &query)).await
    }
}

impl Reply {
    /// The value in the body. The error does not repeat the body, which may have preimages.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, WalletError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let kind = error.classify();
            let (line, column) = (error.line(), error.column());
            WalletError::Nonsense(format!(
                "unreadable response: {kind:?} error at line {line}, column {column}"
            ))
        })
    }
}

fn wrong_hash(expected: PaymentHash, got: PaymentHash) -> WalletError {
    WalletError::Nonsense(format!("wrong payment hash: expected {expected}, got {got}"))
}

/// Sends a request and reads the whole response.
async fn exchange(request: RequestBuilder) -> Result<Reply, Lost> {
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len().saturating_add(chunk.len()) > BODY_BYTES_MAX {
            return Err(Lost::NoReply(
                format!("response too large: expected at most {BODY_BYTES_MAX} bytes").into(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}

/// What a transport error means. The URL is left out: one of them has the key.
pub(crate) fn lost(error: reqwest::Error) -> Lost {
    let not_sent = error.is_connect() || error.is_builder();
    let cause = Box::new(error.without_url());
    if not_sent { Lost::NotSent(cause) } else { Lost::NoReply(cause) }
}
