//! A host of Lightning addresses that answers as a test says.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use std::time::Duration;
use tithe_lightning::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tithe_lightning::{Bolt11, Network};
use tithe_lnurl::{Destinations, LnurlResolver, LnurlSettings};
use tithe_money::Sats;
use tithe_payouts::{AddressError, AddressResolver, LightningAddress};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) const METADATA: &str =
    r#"[["text/plain","Payment to alice"],["text/identifier","alice@example.com"]]"#;

pub(crate) fn resolver(timeout: Duration) -> LnurlResolver {
    let settings = LnurlSettings::new(Network::Regtest);
    LnurlResolver::new(LnurlSettings { destinations: Destinations::Any, timeout, ..settings }).unwrap()
}

pub(crate) fn sats(amount: u64) -> Sats {
    Sats::new(amount).unwrap()
}

/// A signed invoice; it expired long ago.
pub(crate) fn invoice(currency: Currency, msats: Option<u64>, metadata: Option<&str>) -> String {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let builder = InvoiceBuilder::new(currency);
    let builder = match metadata {
        Some(metadata) => builder.description_hash(sha256::Hash::hash(metadata.as_bytes())),
        None => builder.description("Payment to alice".to_owned()),
    };
    let builder = builder
        .payment_hash(sha256::Hash::from_byte_array([1; 32]))
        .payment_secret(PaymentSecret([2; 32]))
        .duration_since_epoch(Duration::from_secs(1_600_000_000))
        .min_final_cltv_expiry_delta(80)
        .basic_mpp();
    let builder = match msats {
        Some(msats) => builder.amount_milli_satoshis(msats),
        None => builder,
    };
    let sign = |message: &_| Secp256k1::new().sign_ecdsa_recoverable(message, &key);
    builder.build_signed(sign).unwrap().to_string()
}

/// A host whose address `alice` works as long as nothing else is said.
pub(crate) struct Host {
    pub server: MockServer,
}

impl Host {
    /// A host that does not answer at all yet.
    pub(crate) async fn silent() -> Self {
        Self { server: MockServer::start().await }
    }

    /// A host whose first reply is this one.
    pub(crate) async fn first(response: ResponseTemplate) -> Self {
        let host = Self::silent().await;
        Mock::given(path("/.well-known/lnurlp/alice")).respond_with(response).mount(&host.server).await;
        host
    }

    /// A host whose first reply is that of a service, changed by `change`.
    pub(crate) async fn pay_request(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let host = Self::silent().await;
        let mut reply = serde_json::json!({
            "tag": "payRequest",
            "callback": format!("{}/pay/alice?session=1", host.server.uri()),
            "minSendable": 1_000,
            "maxSendable": 100_000_000,
            "metadata": METADATA,
            "commentAllowed": 255,
            "payerData": {"name": {"mandatory": false}, "email": {}, "sloppy": true},
        });
        change(&mut reply);
        let response = ResponseTemplate::new(200).set_body_json(reply);
        Mock::given(path("/.well-known/lnurlp/alice")).respond_with(response).mount(&host.server).await;
        host
    }

    /// A host whose second reply is this one.
    pub(crate) async fn second(response: ResponseTemplate) -> Self {
        let host = Self::pay_request(|_| ()).await;
        let callback = Mock::given(path("/pay/alice")).and(query_param("session", "1"));
        callback.respond_with(response).mount(&host.server).await;
        host
    }

    /// A host whose second reply has this invoice.
    pub(crate) async fn invoice(invoice: &str) -> Self {
        let reply = serde_json::json!({
            "pr": invoice,
            "routes": [],
            "disposable": false,
            "successAction": {"tag": "url", "description": "Thanks", "url": "http://127.0.0.1/"},
        });
        Self::second(ResponseTemplate::new(200).set_body_json(reply)).await
    }

    pub(crate) fn address(&self) -> LightningAddress {
        format!("alice@{}", self.server.address()).parse().unwrap()
    }

    /// What a payout of 21 sats gets.
    pub(crate) async fn ask(&self) -> Result<Bolt11, AddressError> {
        self.ask_for(21).await
    }

    pub(crate) async fn ask_for(&self, amount: u64) -> Result<Bolt11, AddressError> {
        resolver(Duration::from_secs(30)).invoice(&self.address(), sats(amount)).await
    }

    /// The URLs that were requested.
    pub(crate) async fn requested(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        let target = |request: &Request| match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        };
        requests.iter().map(target).collect()
    }
}

#[track_caller]
pub(crate) fn assert_refused(result: &Result<Bolt11, AddressError>, reason: &str) {
    match result {
        Err(AddressError::Refused { reason: found }) => {
            assert!(found.contains(reason), "expected {reason:?}, got {found:?}");
        }
        other => panic!("expected a refusal ({reason}), got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_unavailable(result: &Result<Bolt11, AddressError>, reason: &str) {
    match result {
        Err(AddressError::Unavailable { reason: found }) => {
            assert!(found.contains(reason), "expected {reason:?}, got {found:?}");
        }
        other => panic!("expected it to be unavailable ({reason}), got {other:?}"),
    }
}
