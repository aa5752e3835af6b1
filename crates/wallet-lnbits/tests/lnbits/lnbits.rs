//! The scripted LNbits. Its responses are those of LNbits 1.6.2, but for the invoices: LNbits' own `FakeWallet` makes ones without feature
//! bits, which no node pays and which are not valid BOLT11.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tithe_clock::{ManualClock, Timestamp};
use tithe_lightning::{Bolt11, Network, PaymentHash, PaymentId, PaymentOrder};
use tithe_money::Msats;
use tithe_wallet_lnbits::{LnbitsSettings, LnbitsWallet};
use uuid::Uuid;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Match, Mock, MockBuilder, MockServer, Request, ResponseTemplate};

/// An invoice of 21 sats that was made at 09:23:28 and expires after ten minutes.
pub static INVOICE: LazyLock<String> =
    LazyLock::new(|| signed(INVOICE_HASH, 21_000, "2026-11-20T09:23:28Z", Duration::from_mins(10)));
pub const INVOICE_HASH: &str = "0a22be1804c1955072936b66c88e0a58b78ab1483855db71fc321d28aa815817";
pub const INVOICE_PREIMAGE: &str = "738fad2845fa1a3842fbd996e7d0a666b950c0b6631989cc51ed6211ec69053b";

/// An invoice of 9 sats that another wallet of the same LNbits made at 09:23:30.
pub static REFUND: LazyLock<String> =
    LazyLock::new(|| signed(REFUND_HASH, 9_000, "2026-11-20T09:23:30Z", Duration::from_hours(1)));
pub const REFUND_HASH: &str = "09918e047e06b351d9f7d2696162eb5e604239b0876549dfcd79bf301607bd31";
pub const REFUND_PREIMAGE: &str = "12cc04fdca11d044dcaf6256863cd96390d0a5abc7232c8196886c5cc468fec0";

/// BOLT 11's own example of a request without an amount.
pub const DONATION: &str = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";

/// The wallet's admin key.
pub const KEY: &str = "80964e3a25464211b83af162e6cba620";

/// The limit for each test, generous for a slow machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// An invoice of a node on mainnet.
pub fn signed(payment_hash: &str, msats: u64, created_at: &str, expiry: Duration) -> String {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let created_at = at(created_at).since(Timestamp::UNIX_EPOCH);
    InvoiceBuilder::new(Currency::Bitcoin)
        .description("ai call".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(*hash(payment_hash).as_bytes()))
        .payment_secret(PaymentSecret([3; 32]))
        .duration_since_epoch(created_at)
        .min_final_cltv_expiry_delta(18)
        .expiry_time(expiry)
        .amount_milli_satoshis(msats)
        .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &key))
        .unwrap()
        .to_string()
}

pub fn hash(text: &str) -> PaymentHash {
    text.parse().unwrap()
}

pub fn msats(msats: u64) -> Msats {
    Msats::new(msats).unwrap()
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// The id of the payment in most tests.
pub fn payment_id() -> PaymentId {
    PaymentId(Uuid::from_u128(7))
}

/// An order to pay the refund.
pub fn order() -> PaymentOrder {
    let request: Bolt11 = REFUND.parse().unwrap();
    PaymentOrder { id: payment_id(), request, amount: None, max_fee: msats(2_000) }
}

/// The record of the invoice, unpaid. LNbits has the preimage already.
pub fn invoice() -> Value {
    json!({
        "checking_id": INVOICE_HASH,
        "payment_hash": INVOICE_HASH,
        "wallet_id": "35b63e1dc71f44a58400dc3dcffbb697",
        "amount": 21000,
        "fee": 0,
        "bolt11": INVOICE.as_str(),
        "payment_request": INVOICE.as_str(),
        "fiat_provider": null,
        "status": "pending",
        "memo": "ai call",
        "expiry": "2026-11-20T09:33:28+00:00",
        "webhook": null,
        "webhook_status": null,
        "preimage": INVOICE_PREIMAGE,
        "tag": null,
        "extension": null,
        "time": "2026-11-20T09:23:28.152924+00:00",
        "created_at": "2026-11-20T09:23:28.152928+00:00",
        "updated_at": "2026-11-20T09:23:29.075318+00:00",
        "labels": [],
        "extra": {},
        "external_id": "00000000-0000-0000-0000-000000000009"
    })
}

/// The record of the refund, paid by our wallet to another wallet of the same LNbits.
pub fn refund() -> Value {
    json!({
        "checking_id": format!("internal_{REFUND_HASH}"),
        "payment_hash": REFUND_HASH,
        "wallet_id": "35b63e1dc71f44a58400dc3dcffbb697",
        "amount": -9000,
        "fee": 0,
        "bolt11": REFUND.as_str(),
        "payment_request": REFUND.as_str(),
        "fiat_provider": null,
        "status": "success",
        "memo": "refund",
        "expiry": "2026-11-20T10:23:30",
        "webhook": null,
        "webhook_status": null,
        "preimage": REFUND_PREIMAGE,
        "tag": null,
        "extension": null,
        "time": "2026-11-20T09:23:30.992574+00:00",
        "created_at": "2026-11-20T09:23:30.992576+00:00",
        "updated_at": "2026-11-20T09:23:30.992576+00:00",
        "labels": [],
        "extra": { "tithe_id": payment_id().to_string() },
        "external_id": payment_id().to_string()
    })
}

/// The record of the refund's payee.
pub fn payee() -> Value {
    let other = "ae0cec097d1a48a6aad70d116f958b6c";
    with(
        refund(),
        json!({ "checking_id": REFUND_HASH, "wallet_id": other, "amount": 9000, "external_id": null, "extra": {} }),
    )
}

/// `record` with these fields changed.
pub fn with(mut record: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("expected fields, got {fields}") };
    record.as_object_mut().unwrap().extend(fields);
    record
}

/// LNbits' error response.
pub fn error(detail: &str) -> Value {
    json!({ "detail": detail })
}

/// LNbits' error response about a payment.
pub fn payment_error(detail: &str, status: &str) -> Value {
    json!({ "detail": detail, "status": status })
}

/// A scripted LNbits and a wallet there.
pub struct Lnbits {
    pub server: MockServer,
    pub clock: Arc<ManualClock>,
    pub wallet: LnbitsWallet,
}

/// The settings for a server with this URL.
pub fn settings(url: &str) -> LnbitsSettings {
    LnbitsSettings::new(url.parse().unwrap(), KEY.parse().unwrap(), Network::Mainnet)
}

impl Lnbits {
    /// A server, and a wallet with its default settings.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server, and a wallet with changed settings.
    pub async fn start_with(change: impl FnOnce(&mut LnbitsSettings)) -> Self {
        let server = MockServer::start().await;
        let clock = Arc::new(ManualClock::at(at("2026-11-20T09:23:31Z")));
        let mut settings = settings(&server.uri());
        change(&mut settings);
        let wallet = LnbitsWallet::new(&settings, clock.clone()).unwrap();
        Self { server, clock, wallet }
    }

    async fn mount(&self, mock: MockBuilder, status: u16, body: &Value) {
        mock.respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&self.server).await;
    }

    /// What LNbits answers to a query of this payment hash, for which it queries its node.
    pub async fn check(&self, hash: &str, status: u16, body: Value) {
        self.mount(get(&format!("/api/v1/payments/{hash}")), status, &body).await;
    }

    /// The records with this payment hash in the list of payments.
    pub async fn list(&self, hash: &str, records: &[Value]) {
        self.mount(listing(hash), 200, &page(records)).await;
    }

    /// The records with this payment hash at the first look, and afterwards.
    pub async fn list_twice(&self, hash: &str, first: &[Value], second: &[Value]) {
        let first = ResponseTemplate::new(200).set_body_json(page(first));
        listing(hash).respond_with(first).up_to_n_times(1).mount(&self.server).await;
        self.list(hash, second).await;
    }

    /// The fee reserve in millisats.
    pub async fn reserve(&self, msats: u64) {
        let reserve = get("/api/v1/payments/fee-reserve").and(query_param("invoice", REFUND.as_str()));
        self.mount(reserve, 200, &json!({ "fee_reserve": msats })).await;
    }

    /// The response to requests that create or pay.
    pub async fn post(&self, response: ResponseTemplate) {
        post().respond_with(response).mount(&self.server).await;
    }

    /// The bodies of the requests that created or paid.
    pub async fn posted(&self) -> Vec<Value> {
        let requests = self.server.received_requests().await.unwrap();
        let posted = requests.into_iter().filter(|request| request.method.as_str() == "POST");
        posted.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// The number of requests.
    pub async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }

    /// An LNbits that has no record of the refund, allows its fee, and answers the payment with this.
    pub async fn paying(status: u16, body: &Value) -> Self {
        let lnbits = Self::start().await;
        lnbits.list(REFUND_HASH, &[]).await;
        lnbits.reserve(2_000).await;
        lnbits.post(ResponseTemplate::new(status).set_body_json(body)).await;
        lnbits
    }
}

/// A page of the list of payments, complete.
pub fn page(records: &[Value]) -> Value {
    json!({ "data": records, "total": records.len() })
}

/// Requests with the wallet's key.
struct WithKey;

impl Match for WithKey {
    fn matches(&self, request: &Request) -> bool {
        header("X-Api-Key", KEY).matches(request)
    }
}

/// A GET request for this path.
pub fn get(at: &str) -> MockBuilder {
    Mock::given(method("GET")).and(path(at)).and(WithKey)
}

/// A request that creates or pays.
pub fn post() -> MockBuilder {
    Mock::given(method("POST")).and(path("/api/v1/payments")).and(WithKey)
}

/// A request for the records with this payment hash.
fn listing(hash: &str) -> MockBuilder {
    get("/api/v1/payments/paginated").and(query_param("payment_hash", hash))
}
