//! What every test needs: a wallet, its service and its relay, and invoices.

use crate::relay::Relay;
use crate::service::Service;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use nostr::key::{Keys, PublicKey};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, ManualClock, Timestamp};
use tithe_lightning::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tithe_lightning::{Bolt11, Network, PaymentHash, PaymentId, PaymentOrder, Preimage, WalletError};
use tithe_money::Msats;
use tithe_wallet_nwc::{FeeLimit, NwcSettings, NwcWallet};

/// The limit of everything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The secret of the connection, which no text may show.
pub(crate) const SECRET: &str = "71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c";

pub(crate) struct Bench {
    pub service: Arc<Service>,
    pub relay: Relay,
    pub wallet: NwcWallet,
    pub clock: Arc<ManualClock>,
}

pub(crate) fn settings(service: &Service, relays: &[String]) -> NwcSettings {
    let relays = relays.join("&relay=");
    let text = format!("nostr+walletconnect://{}?secret={SECRET}&relay={relays}", service.keys.public_key());
    let mut settings = NwcSettings::new(text.parse().unwrap(), Network::Regtest);
    settings.fee_limit = FeeLimit::ALBY_HUB;
    settings.timeout = Duration::from_secs(20);
    settings
}

/// Our public key.
pub(crate) fn client() -> PublicKey {
    Keys::parse(SECRET).unwrap().public_key()
}

pub(crate) fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap()
}

impl Bench {
    pub fn new(service: Arc<Service>) -> Self {
        Self::with(service, |_| {})
    }

    pub fn with(service: Arc<Service>, change: impl FnOnce(&mut NwcSettings)) -> Self {
        let relay = Relay::start(&service);
        let mut settings = settings(&service, &[relay.url()]);
        change(&mut settings);
        let clock = Arc::new(ManualClock::at(start()));
        let shared: Arc<dyn Clock> = clock.clone();
        let wallet = NwcWallet::new(settings, shared);
        Self { service, relay, wallet, clock }
    }
}

/// A wallet at several relays.
pub(crate) fn wallet_at(service: &Service, relays: &[String], timeout: Duration) -> NwcWallet {
    let mut settings = settings(service, relays);
    settings.timeout = timeout;
    NwcWallet::new(settings, Arc::new(ManualClock::at(start())))
}

pub(crate) fn preimage() -> Preimage {
    Preimage::from_bytes([7; 32])
}

pub(crate) fn hash() -> PaymentHash {
    preimage().payment_hash()
}

/// An invoice of a node on regtest that is valid for an hour from [`start`].
pub(crate) fn invoice(amount: Option<u64>) -> Bolt11 {
    invoice_with(Currency::Regtest, amount, hash(), Duration::from_hours(1))
}

pub(crate) fn invoice_with(
    currency: Currency,
    amount: Option<u64>,
    payment_hash: PaymentHash,
    expiry: Duration,
) -> Bolt11 {
    let builder = InvoiceBuilder::new(currency)
        .description("test".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(*payment_hash.as_bytes()))
        .payment_secret(PaymentSecret([3; 32]))
        .duration_since_epoch(Duration::from_secs(start().unix_seconds().try_into().unwrap()))
        .min_final_cltv_expiry_delta(80)
        .expiry_time(expiry);
    let builder = match amount {
        Some(amount) => builder.amount_milli_satoshis(amount),
        None => builder,
    };
    let (secp, key) = (Secp256k1::new(), SecretKey::from_slice(&[9; 32]).unwrap());
    let signed = builder.build_signed(|message| secp.sign_ecdsa_recoverable(message, &key)).unwrap();
    Bolt11::try_from(&signed).unwrap()
}

/// An order to pay 21 sats with a fee of up to 10 sats, which is what Alby Hub may take.
pub(crate) fn order() -> PaymentOrder {
    PaymentOrder { id: payment_id(), request: invoice(Some(21_000)), amount: None, max_fee: msats(10_000) }
}

pub(crate) fn payment_id() -> PaymentId {
    PaymentId(tithe_lightning::uuid::Uuid::from_u128(5))
}

pub(crate) fn msats(amount: u64) -> Msats {
    Msats::new(amount).unwrap()
}

/// Waits for a future, with a limit.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing happened in time"))
}

pub(crate) fn is_unavailable<T: Debug>(result: &Result<T, WalletError>) -> bool {
    matches!(result, Err(WalletError::Unavailable(_)))
}

pub(crate) fn is_unknown<T: Debug>(result: &Result<T, WalletError>) -> bool {
    matches!(result, Err(WalletError::OutcomeUnknown(_)))
}

pub(crate) fn is_refused<T: Debug>(result: &Result<T, WalletError>) -> bool {
    matches!(result, Err(WalletError::Refused(_)))
}

pub(crate) fn is_nonsense<T: Debug>(result: &Result<T, WalletError>) -> bool {
    matches!(result, Err(WalletError::Nonsense(_)))
}
