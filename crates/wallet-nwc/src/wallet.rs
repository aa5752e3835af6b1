//! The wallet port, by NIP-47.

use crate::api::{is_unsupported, read_error};
use crate::attempts::{Attempt, Attempts};
use crate::client::{Client, RequestError};
use crate::message::{ErrorCode, Fault, NoticeKind, PaidInvoice, tidy};
use crate::received::notified_hashes;
use crate::records::Records;
use crate::{FeeLimit, NwcSettings};
use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Timestamp};
use tithe_lightning::{
    Bolt11, ExpectedInvoice, HeldPayment, HeldPayments, InvoiceRequest, InvoiceStatus, Network, Payment,
    PaymentHash, PaymentId, PaymentOrder, Preimage, ReceivedPayments, Wallet, WalletCapabilities,
    WalletError, WalletPayment,
};
use tithe_money::Msats;
use tokio::sync::OnceCell;

/// The BOLT11 limit.
const DESCRIPTION_BYTES_MAX: usize = 639;
/// How much earlier than requested an invoice may expire: the wallet's clock may differ.
const EXPIRY_SLACK: Duration = Duration::from_mins(1);
/// The number of notifications that are looked up at the same time.
const LOOKUPS_MAX: usize = 4;

/// A Lightning wallet that is reached by Nostr Wallet Connect. See the crate's documentation.
///
/// Clones share the connections to the relays.
#[derive(Clone)]
pub struct NwcWallet {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: Network,
    fee_limit: FeeLimit,
    settlement_lag_max: Duration,
    pub(crate) records: Records,
    attempts: Attempts,
    /// Set once the wallet's network is known to be the right one, or not to be known.
    facts: OnceCell<Facts>,
}

/// What the wallet has said about itself.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    hold_invoices: bool,
}

impl std::fmt::Debug for NwcWallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NwcWallet").field("network", &self.inner.network).finish_non_exhaustive()
    }
}

pub(crate) fn refused<T>(why: impl Into<String>) -> Result<T, WalletError> {
    Err(WalletError::Refused(why.into()))
}

fn failed(reason: impl Into<String>) -> Payment {
    Payment::Failed { reason: reason.into() }
}

pub(crate) fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> WalletError {
    WalletError::OutcomeUnknown(Some(Box::new(error)))
}

/// The network of this name in `get_info`. Nodes call mainnet "bitcoin", and test networks have names of their own.
fn network_named(name: &str) -> Option<Network> {
    match name {
        "bitcoin" => Some(Network::Mainnet),
        "testnet3" | "testnet4" => Some(Network::Testnet),
        "mutinynet" => Some(Network::Signet),
        name => name.parse().ok(),
    }
}

impl NwcWallet {
    /// Creates the wallet. It connects to its relays with the first request, in the runtime of the caller, and stays connected
    /// until it and all its streams are dropped.
    #[must_use]
    pub fn new(settings: NwcSettings, clock: Arc<dyn Clock>) -> Self {
        let client = Client::new(settings.connection, settings.timeout, Arc::clone(&clock));
        Self {
            inner: Arc::new(Inner {
                client,
                clock,
                network: settings.network,
                fee_limit: settings.fee_limit,
                settlement_lag_max: settings.settlement_lag_max,
                records: Records::default(),
                attempts: Attempts::default(),
                facts: OnceCell::new(),
            }),
        }
    }
}

impl NwcWallet {
    /// The payments that notifications of this kind lead to, each looked up.
    async fn notified<T, F>(
        &self,
        kind: NoticeKind,
        look: impl Fn(Arc<Inner>, PaymentHash) -> F + Send + 'static,
    ) -> Result<BoxStream<'static, T>, WalletError>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let exchange = self.inner.client.exchange();
        let notified = exchange.notifications();
        let links = self.inner.client.connected().await.map_err(read_error)?;
        if exchange.notifies() != Some(true) {
            tracing::info!(
                "the wallet does not announce notifications of payments: they are found by polling"
            );
        }
        let inner = Arc::clone(&self.inner);
        let look = move |payment_hash| look(Arc::clone(&inner), payment_hash);
        let hashes = notified_hashes(kind, notified, links);
        Ok(hashes.map(look).buffer_unordered(LOOKUPS_MAX).filter_map(std::future::ready).boxed())
    }
}

impl Inner {
    /// Checks that the wallet is on the expected network, once. A wallet that does not say is believed: the network of each
    /// invoice is checked as well.
    pub(crate) async fn check_network(&self) -> Result<(), WalletError> {
        let check = || async {
            let info = match self.client.get_info().await {
                Ok(info) => info,
                Err(error) if is_unsupported(&error) => return Ok(Facts::default()),
                Err(error) => return Err(read_error(error)),
            };
            let facts = Facts { hold_invoices: info.has_hold_invoices() };
            let Some(name) = info.network.filter(|network| !network.is_empty()) else { return Ok(facts) };
            match network_named(&name) {
                Some(found) if found == self.network => Ok(facts),
                Some(found) => refused(format!("wrong network: expected {}, got {found}", self.network)),
                None => refused(format!("wrong network: expected {}, got {:?}", self.network, tidy(&name))),
            }
        };
        self.facts.get_or_try_init(check).await.map(drop)
    }

    /// The amount of an order, or the reason why it can never be paid.
    fn amount_of(&self, order: &PaymentOrder) -> Result<Msats, WalletError> {
        let found = order.request.network();
        if found != self.network {
            return refused(format!("wrong network: expected {}, got {found}", self.network));
        }
        match (order.request.amount(), order.amount) {
            (Some(_), Some(_)) => refused("the invoice names its amount, and so does the order"),
            (None, None) => refused("neither the invoice nor the order names an amount"),
            (Some(amount), None) | (None, Some(amount)) if amount.is_zero() => refused("nothing to pay"),
            (Some(amount), None) | (None, Some(amount)) => Ok(amount),
        }
    }

    /// The reason why a payment is not sent, if its fee could exceed its limit.
    fn fee_obstacle(&self, amount: Msats, max_fee: Msats) -> Result<Option<String>, WalletError> {
        match (self.fee_limit, self.fee_limit.wallet_fee_max(amount)) {
            (FeeLimit::Unknown, _) => {
                refused("unknown fee limit: the settings do not state the wallet's maximum fee")
            }
            (_, Some(Ok(fee))) if fee <= max_fee => Ok(None),
            (_, Some(Ok(fee))) => {
                Ok(Some(format!("fee limit too low: the wallet may charge {fee}, the limit is {max_fee}")))
            }
            (_, Some(Err(_))) => refused("the wallet's maximum fee is more than can exist"),
            (_, None) => Ok(None),
        }
    }

    /// The state of an outgoing payment. While a request may still reach the wallet, that the wallet has no record of it
    /// says nothing.
    async fn payment(&self, payment_hash: PaymentHash) -> Result<Option<Payment>, WalletError> {
        // Before the look-up: an attempt that ends in the meantime must not be overlooked.
        let open = self.attempts.open(payment_hash, self.clock.now());
        let found = self.records.payment(&self.client, payment_hash).await?;
        Ok(match (found, open) {
            (None, Some(_)) => Some(Payment::InFlight),
            // The record may be the one of the earlier attempt.
            (Some(Payment::Failed { .. }), Some(Attempt { failed_before: true, .. })) => {
                Some(Payment::InFlight)
            }
            (found, _) => found,
        })
    }

    /// Sends the request to pay, and interprets the response.
    async fn pay(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        let payment_hash = order.request.payment_hash();
        let max_fee = (self.fee_limit == FeeLimit::MaxFee).then_some(order.max_fee);
        match self.client.pay_invoice(order.request.as_str(), order.amount, max_fee).await {
            Ok(paid) => self.paid(order, &paid).await,
            Err(error @ (RequestError::NotSent(_) | RequestError::Cipher(_))) => {
                self.attempts.end(payment_hash);
                Err(WalletError::Unavailable(Some(Box::new(error))))
            }
            Err(error @ RequestError::Lost) => Err(unknown(error)),
            Err(error @ RequestError::Unreadable(_)) => self.settle_doubt(payment_hash, error).await,
            Err(RequestError::Fault { fault, copies }) => self.pay_fault(payment_hash, fault, copies).await,
        }
    }

    /// The wallet says that it has paid. The preimage is the evidence; a fee that is missing is looked up.
    async fn paid(&self, order: &PaymentOrder, paid: &PaidInvoice) -> Result<Payment, WalletError> {
        let payment_hash = order.request.payment_hash();
        let preimage = paid.preimage.as_deref().and_then(|text| text.parse::<Preimage>().ok());
        let preimage = preimage.filter(|preimage| preimage.payment_hash() == payment_hash);
        let payment = match (preimage, paid.fees_paid.map(Msats::new)) {
            (Some(preimage), Some(Ok(fee))) => Payment::Succeeded { preimage, fee },
            (Some(preimage), _) => match self.records.payment(&self.client, payment_hash).await {
                Ok(Some(found @ Payment::Succeeded { .. })) => found,
                _ => Payment::Succeeded { preimage, fee: Msats::ZERO },
            },
            (None, _) => {
                let why = RequestError::Unreadable("the preimage does not hash to the payment hash");
                return self.settle_doubt(payment_hash, why).await;
            }
        };
        self.attempts.end(payment_hash);
        if let Payment::Succeeded { fee, .. } = &payment
            && *fee > order.max_fee
        {
            let (fee_msats, fee_limit_msats) = (fee.get(), order.max_fee.get());
            tracing::error!(%payment_hash, fee_msats, fee_limit_msats, "the wallet exceeded the fee limit; check its settings");
        }
        Ok(payment)
    }

    /// The wallet has responded to a request to pay with an error.
    async fn pay_fault(
        &self,
        payment_hash: PaymentHash,
        fault: Fault,
        copies: u32,
    ) -> Result<Payment, WalletError> {
        let nothing_paid = match fault.code {
            ErrorCode::InsufficientBalance | ErrorCode::QuotaExceeded | ErrorCode::FeeLimitExceeded => {
                Ok(failed(fault.to_string()))
            }
            ErrorCode::RateLimited => Err(WalletError::Unavailable(Some(Box::new(fault.clone())))),
            ErrorCode::Restricted
            | ErrorCode::Unauthorized
            | ErrorCode::NotImplemented
            | ErrorCode::UnsupportedEncryption => refused(fault.to_string()),
            // NIP-47: a failed payment "may be due to a timeout". The record decides.
            ErrorCode::PaymentFailed
            | ErrorCode::Internal
            | ErrorCode::Other
            | ErrorCode::NotFound
            | ErrorCode::Unknown(_) => return self.settle_doubt(payment_hash, fault).await,
        };
        // A wallet that does not recognise the copies of a request may have carried out one of them, and refused another for
        // lack of what the first has taken.
        if copies > 1 {
            match self.records.payment(&self.client, payment_hash).await {
                Ok(None | Some(Payment::Failed { .. })) => {}
                Ok(Some(payment @ Payment::Succeeded { .. })) => {
                    self.attempts.end(payment_hash);
                    return Ok(payment);
                }
                Ok(Some(Payment::InFlight)) => return Ok(Payment::InFlight),
                Err(_) => return Err(unknown(fault)),
            }
        }
        self.attempts.end(payment_hash);
        nothing_paid
    }

    /// Looks up a payment whose response was ambiguous. Without a record that decides, the outcome is unknown.
    async fn settle_doubt(
        &self,
        payment_hash: PaymentHash,
        doubt: impl std::error::Error + Send + Sync + 'static,
    ) -> Result<Payment, WalletError> {
        match self.records.payment(&self.client, payment_hash).await {
            Ok(Some(Payment::Failed { reason })) => {
                self.attempts.end(payment_hash);
                Ok(failed(format!("{reason} ({doubt})")))
            }
            Ok(Some(payment)) => {
                self.attempts.end(payment_hash);
                Ok(payment)
            }
            Ok(None) | Err(_) => Err(unknown(doubt)),
        }
    }

    /// Looks up a held payment that the wallet has notified.
    async fn held(&self, payment_hash: PaymentHash) -> Option<HeldPayment> {
        match self.invoice_status(payment_hash).await {
            Ok(Some(InvoiceStatus::Held(held))) => Some(held),
            // It was settled or cancelled in the meantime.
            Ok(_) => None,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%payment_hash, error, "a held payment cannot be looked up");
                None
            }
        }
    }

    /// Looks up a payment that the wallet has notified.
    async fn received(&self, payment_hash: PaymentHash) -> Option<tithe_lightning::ReceivedPayment> {
        match self.invoice_status(payment_hash).await {
            Ok(Some(InvoiceStatus::Settled(payment))) => Some(payment),
            Ok(_) => {
                tracing::warn!(%payment_hash, "the wallet has notified a payment that it does not report as settled");
                None
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%payment_hash, error, "a notified payment cannot be looked up");
                None
            }
        }
    }
}

/// A request that an invoice can be made of.
fn check_request(request: &InvoiceRequest) -> Result<(), WalletError> {
    if request.amount.is_zero() {
        return refused("an invoice must ask for more than nothing");
    }
    if request.description.len() > DESCRIPTION_BYTES_MAX {
        return refused(format!("a description can have at most {DESCRIPTION_BYTES_MAX} bytes"));
    }
    if request.expiry.is_zero() {
        return refused("an invoice must not expire at once");
    }
    Ok(())
}

/// The invoice that the wallet has made, checked.
pub(crate) fn checked_invoice(
    text: Option<&str>,
    payment_hash: Option<&str>,
    request: &InvoiceRequest,
    network: Network,
    asked_at: Timestamp,
) -> Result<Bolt11, WalletError> {
    let nonsense = |why: String| WalletError::Nonsense(why);
    let text = text.ok_or_else(|| nonsense("the response has no invoice".to_owned()))?;
    let bolt11: Bolt11 = text.parse().map_err(|error| nonsense(format!("{error}")))?;
    let payment_hash = payment_hash.filter(|hash| !hash.is_empty()).map(str::parse).transpose();
    let expected = ExpectedInvoice {
        network,
        amount: request.amount.to_msats(),
        payment_hash: payment_hash.map_err(|error| nonsense(format!("invalid payment hash: {error}")))?,
        expires_after: asked_at + request.expiry.saturating_sub(EXPIRY_SLACK.min(request.expiry / 2)),
    };
    bolt11.check(&expected).map_err(|mismatch| nonsense(mismatch.to_string()))?;
    Ok(bolt11)
}

#[async_trait]
impl Wallet for NwcWallet {
    fn network(&self) -> Network {
        self.inner.network
    }

    fn capabilities(&self) -> WalletCapabilities {
        let facts = self.inner.facts.get().copied().unwrap_or_default();
        // The parameter `amount` of `pay_invoice` (NIP-47).
        let amountless_invoices = true;
        WalletCapabilities {
            hold_invoices: facts.hold_invoices,
            amountless_invoices,
            ..WalletCapabilities::default()
        }
    }

    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError> {
        check_request(request)?;
        let inner = &self.inner;
        inner.check_network().await?;
        let asked_at = inner.clock.now();
        let amount = request.amount.to_msats();
        let made = inner.client.make_invoice(amount, &request.description, request.expiry).await;
        let made = made.map_err(|error| match error {
            // There may be an invoice that nobody will see.
            RequestError::Lost => unknown(error),
            error => read_error(error),
        })?;
        let (invoice, hash) = (made.invoice.as_deref(), made.payment_hash.as_deref());
        checked_invoice(invoice, hash, request, inner.network, asked_at)
    }

    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError> {
        self.inner.invoice_status(payment_hash).await
    }

    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError> {
        self.notified(NoticeKind::Received, |inner, payment_hash| async move {
            inner.received(payment_hash).await
        })
        .await
    }

    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        let inner = &self.inner;
        let amount = inner.amount_of(order)?;
        inner.check_network().await?;
        let payment_hash = order.request.payment_hash();
        // Some wallets pay an invoice twice when they are asked twice. One that cannot be asked about a payment is not paid by.
        let failed_before = match inner.payment(payment_hash).await? {
            Some(known @ (Payment::Succeeded { .. } | Payment::InFlight)) => return Ok(known),
            Some(Payment::Failed { .. }) => true,
            None => false,
        };
        let now = inner.clock.now();
        if now >= order.request.expires_at() {
            return Ok(failed("the invoice has expired"));
        }
        if let Some(obstacle) = inner.fee_obstacle(amount, order.max_fee)? {
            return Ok(failed(obstacle));
        }
        let attempt = Attempt { until: now + inner.client.request_life(), failed_before };
        if !inner.attempts.begin(payment_hash, now, attempt) {
            return Ok(Payment::InFlight);
        }
        inner.pay(order).await
    }

    async fn payment_status(
        &self,
        _id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        self.inner.payment(payment_hash).await
    }

    async fn balance(&self) -> Result<Msats, WalletError> {
        self.inner.check_network().await?;
        let balance = self.inner.client.get_balance().await.map_err(read_error)?;
        Msats::new(balance).map_err(|error| WalletError::Nonsense(format!("invalid balance: {error}")))
    }

    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
        self.inner.check_network().await?;
        Records::settled(&self.inner.client, since, since - self.inner.settlement_lag_max).await
    }

    async fn hold_invoice_create(
        &self,
        request: &InvoiceRequest,
        payment_hash: PaymentHash,
    ) -> Result<Bolt11, WalletError> {
        check_request(request)?;
        self.inner.hold_create(request, payment_hash).await
    }

    async fn hold_invoice_settle(&self, preimage: Preimage) -> Result<(), WalletError> {
        self.inner.hold_settle(preimage).await
    }

    async fn hold_invoice_cancel(&self, payment_hash: PaymentHash) -> Result<(), WalletError> {
        self.inner.hold_cancel(payment_hash).await
    }

    async fn payments_held(&self) -> Result<HeldPayments, WalletError> {
        self.notified(NoticeKind::Held, |inner, payment_hash| async move { inner.held(payment_hash).await })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_networks_that_nodes_use_are_known() {
        for (name, network) in [
            ("mainnet", Some(Network::Mainnet)),
            ("bitcoin", Some(Network::Mainnet)),
            ("testnet", Some(Network::Testnet)),
            ("testnet4", Some(Network::Testnet)),
            ("signet", Some(Network::Signet)),
            ("mutinynet", Some(Network::Signet)),
            ("regtest", Some(Network::Regtest)),
            ("liquid", None),
        ] {
            assert_eq!(network_named(name), network, "{name}");
        }
    }
}
