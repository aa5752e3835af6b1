//! A wallet and the server that it talks to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, ManualClock, Timestamp};
use tithe_lightning::{Bolt11, InvoiceId, InvoiceRequest, Network, PaymentId, PaymentOrder, Preimage};
use tithe_money::{Msats, Sats};
use tithe_wallet_phoenixd::{PhoenixdSettings, PhoenixdWallet, SendFee};
use uuid::Uuid;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) const PASSWORD: &str = "0a1b2c3d";
pub(crate) const PREIMAGE: Preimage = Preimage::from_bytes([7; 32]);
pub(crate) const WRONG_PREIMAGE: Preimage = Preimage::from_bytes([8; 32]);
/// 2023-11-14T22:13:20Z.
pub(crate) const NOW_SECONDS: u64 = 1_700_000_000;
pub(crate) const NOW_MILLIS: i64 = 1_700_000_000_000;

/// phoenixd's JSON is written here as it writes it: without null fields.
pub(crate) struct Bench {
    pub server: MockServer,
    pub clock: Arc<ManualClock>,
    pub wallet: PhoenixdWallet,
}

impl Bench {
    /// A phoenixd on regtest with one channel.
    pub async fn new() -> Self {
        let bench = Self::bare().await;
        bench.node("Normal").await;
        bench
    }

    /// A server that answers nothing yet.
    pub async fn bare() -> Self {
        let server = MockServer::start().await;
        let clock = Arc::new(ManualClock::at(now()));
        let wallet = wallet(&server.uri(), clock.clone());
        Self { server, clock, wallet }
    }

    pub async fn node(&self, state: &str) {
        self.get("/getinfo", ok(&node("regtest", "0.8.0-1a2b3c4", state))).await;
    }

    pub async fn get(&self, at: &str, response: ResponseTemplate) {
        Mock::given(method("GET")).and(path(at)).respond_with(response).mount(&self.server).await;
    }

    /// Answers the first request only; a later call adds the next answer.
    pub async fn get_once(&self, at: &str, response: ResponseTemplate) {
        let mock = Mock::given(method("GET")).and(path(at)).respond_with(response);
        mock.up_to_n_times(1).mount(&self.server).await;
    }

    pub async fn post(&self, at: &str, response: ResponseTemplate) {
        Mock::given(method("POST")).and(path(at)).respond_with(response).mount(&self.server).await;
    }

    /// The requests to a path, in order.
    pub async fn requests(&self, at: &str) -> Vec<Request> {
        let mut requests = self.server.received_requests().await.unwrap();
        requests.retain(|request| request.url.path() == at);
        requests
    }
}

pub(crate) fn wallet(url: &str, clock: Arc<dyn Clock>) -> PhoenixdWallet {
    PhoenixdWallet::new(&settings(url), clock).unwrap()
}

pub(crate) fn settings(url: &str) -> PhoenixdSettings {
    PhoenixdSettings {
        url: url.parse().unwrap(),
        password: PASSWORD.parse().unwrap(),
        network: Network::Regtest,
        timeout: Duration::from_secs(20),
        send_fee: SendFee::default(),
    }
}

/// What a request with the password says, whose user has no name.
pub(crate) fn authorization() -> String {
    format!("Basic {}", STANDARD.encode(format!(":{PASSWORD}")))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(NOW_SECONDS)
}

pub(crate) fn ok(json: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(json, "application/json")
}

/// phoenixd's answer when it has no such payment.
pub(crate) fn not_found() -> ResponseTemplate {
    ResponseTemplate::new(404).set_body_string("Not found")
}

pub(crate) fn node(chain: &str, version: &str, state: &str) -> String {
    format!(
        r#"{{"nodeId":"02eaf6…","channels":[{{"state":"{state}","channelId":"00","balanceSat":5,"capacitySat":9}}],
            "chain":"{chain}","blockHeight":1,"version":"{version}"}}"#
    )
}

pub(crate) fn form(request: &Request) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

pub(crate) fn msats(amount: u64) -> Msats {
    Msats::new(amount).unwrap()
}

/// Terms of a test invoice.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub network: Network,
    pub amount: Option<u64>,
    pub expiry: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { network: Network::Regtest, amount: Some(1_000_000), expiry: Duration::from_mins(10) }
    }
}

/// An invoice for [`PREIMAGE`] of 1,000 sat and ten minutes from now, unless the terms differ.
pub(crate) fn bolt11(terms: Terms) -> String {
    let key = SecretKey::from_slice(&[1; 32]).unwrap();
    let currency = match terms.network {
        Network::Mainnet => Currency::Bitcoin,
        Network::Testnet => Currency::BitcoinTestnet,
        Network::Signet => Currency::Signet,
        Network::Regtest => Currency::Regtest,
    };
    let builder = InvoiceBuilder::new(currency)
        .description("a job".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(*PREIMAGE.payment_hash().as_bytes()))
        .payment_secret(PaymentSecret([1; 32]))
        .duration_since_epoch(Duration::from_secs(NOW_SECONDS))
        .min_final_cltv_expiry_delta(80)
        .expiry_time(terms.expiry);
    let builder = match terms.amount {
        Some(amount) => builder.amount_milli_satoshis(amount),
        None => builder,
    };
    let secp = Secp256k1::new();
    builder.build_signed(|message| secp.sign_ecdsa_recoverable(message, &key)).unwrap().to_string()
}

pub(crate) fn request(description: &str) -> InvoiceRequest {
    InvoiceRequest {
        id: InvoiceId(Uuid::from_u128(5)),
        amount: Sats::new(1_000).unwrap(),
        description: description.to_owned(),
        expiry: Duration::from_mins(10),
    }
}

/// An order to pay 1,000 sat, with just enough for the fee.
pub(crate) fn order() -> PaymentOrder {
    PaymentOrder {
        id: PaymentId(Uuid::from_u128(6)),
        request: bolt11(Terms::default()).parse::<Bolt11>().unwrap(),
        amount: None,
        max_fee: msats(8_000),
    }
}
