//! The wallet.

use crate::amounts::sats;
use crate::answers::{Balance, GeneratedInvoice, NodeInfo};
use crate::api::Api;
use crate::description::shortened;
use crate::settings::PhoenixdSettings;
use crate::{chain, events, incoming, list, pay};
use async_trait::async_trait;
use reqwest::StatusCode;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{Clock, Timestamp};
use tithe_lightning::{
    Bolt11, ExpectedInvoice, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId,
    PaymentOrder, ReceivedPayments, Wallet, WalletCapabilities, WalletError, WalletPayment,
};
use tithe_money::{Msats, Sats};
use tokio::sync::OnceCell;

/// The reason why there is no wallet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhoenixdError {
    /// The URL cannot be used.
    #[error(
        "invalid phoenixd URL: expected http:// or https:// and a host, without credentials, query and fragment"
    )]
    Url,
    /// The HTTP client cannot be created: the system's certificates or its random source are unusable.
    #[error("cannot create the HTTP client for phoenixd")]
    Client(#[source] reqwest::Error),
    /// The TLS settings cannot be created.
    #[error("cannot create the TLS settings for phoenixd")]
    Tls(#[source] rustls::Error),
}

/// What a phoenixd holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funds {
    /// What can be sent.
    pub channels: Sats,
    /// What can be used for future liquidity fees only.
    pub fee_credit: Sats,
}

/// phoenixd's balance is less than what it holds.
#[derive(Debug, thiserror::Error)]
enum BalanceUnknown {
    #[error("balance unknown: a channel of phoenixd is {0}")]
    Disconnected(String),
    #[error("balance unknown: nothing can be sent through a channel of phoenixd for now")]
    Blocked,
}

/// A wallet at phoenixd, of version 0.5 or later.
pub struct PhoenixdWallet {
    api: Arc<Api>,
    clock: Arc<dyn Clock>,
    network: Network,
    payer: pay::Payer,
    tls: Option<Arc<ClientConfig>>,
    checked: OnceCell<()>,
}

impl std::fmt::Debug for PhoenixdWallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhoenixdWallet").field("network", &self.network).finish_non_exhaustive()
    }
}

impl PhoenixdWallet {
    /// A wallet at a phoenixd. Sends no request.
    ///
    /// # Errors
    /// [`PhoenixdError`].
    pub fn new(settings: &PhoenixdSettings, clock: Arc<dyn Clock>) -> Result<Self, PhoenixdError> {
        let url = &settings.url;
        let tls = match url.scheme() {
            "http" => None,
            "https" => Some(events::tls().map_err(PhoenixdError::Tls)?),
            _ => return Err(PhoenixdError::Url),
        };
        let credentials = !url.username().is_empty() || url.password().is_some();
        if !url.has_host() || credentials || url.query().is_some() || url.fragment().is_some() {
            return Err(PhoenixdError::Url);
        }
        Ok(Self {
            api: Arc::new(Api::new(settings).map_err(PhoenixdError::Client)?),
            clock,
            network: settings.network,
            payer: pay::Payer::new(settings.send_fee),
            tls,
            checked: OnceCell::new(),
        })
    }

    /// Checks that phoenixd answers, accepts the password, has a supported version and is on the expected network. Every
    /// method of the port does that before its first request.
    ///
    /// # Errors
    /// [`WalletError::Nonsense`] for a wrong network or version, [`WalletError::Refused`] for a wrong password.
    pub async fn check(&self) -> Result<(), WalletError> {
        self.checked
            .get_or_try_init(|| async { chain::check(&self.api.node_info().await?, self.network) })
            .await
            .copied()
    }

    /// What the wallet holds. phoenixd's balance is incomplete while a channel is not connected or nothing can be sent through
    /// it, so this fails then.
    ///
    /// # Errors
    /// [`WalletError::Unavailable`] while the balance is incomplete, or another [`WalletError`].
    pub async fn funds(&self) -> Result<Funds, WalletError> {
        self.check().await?;
        check_balance_complete(&self.api.node_info().await?)?;
        let balance: Balance = self.api.read("getbalance", &[]).await?;
        // A channel that was lost in between is missing in the balance.
        check_balance_complete(&self.api.node_info().await?)?;
        Ok(Funds {
            channels: sats("balanceSat", balance.balance_sat)?,
            fee_credit: sats("feeCreditSat", balance.fee_credit_sat)?,
        })
    }
}

/// Checks that phoenixd's balance is complete. It omits a channel that is not connected, and counts a channel as empty through
/// which nothing can be sent: since 0.8, while the other side cannot pay for the transaction. The money is then on neither side.
fn check_balance_complete(node: &NodeInfo) -> Result<(), WalletError> {
    let unknown = |cause: BalanceUnknown| Err(WalletError::Unavailable(Some(cause.into())));
    for channel in &node.channels {
        let disconnected = ["Offline", "Syncing"].iter().any(|state| channel.state.starts_with(state));
        if disconnected {
            return unknown(BalanceUnknown::Disconnected(channel.state.clone()));
        }
        if channel.state == "Normal"
            && channel.balance_sat == 0
            && channel.inbound_liquidity_sat < channel.capacity_sat / 2
        {
            return unknown(BalanceUnknown::Blocked);
        }
    }
    Ok(())
}

#[async_trait]
impl Wallet for PhoenixdWallet {
    fn network(&self) -> Network {
        self.network
    }

    fn capabilities(&self) -> WalletCapabilities {
        // The field `amountSat` of `/payinvoice`, so that such payments are of whole sats.
        WalletCapabilities { amountless_invoices: true, ..WalletCapabilities::default() }
    }

    /// Each call makes another invoice; the id is stored at phoenixd as `externalId`, for the operator.
    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError> {
        self.check().await?;
        let form = [
            ("amountSat", request.amount.get().to_string()),
            ("description", shortened(&request.description)),
            ("expirySeconds", whole_seconds(request.expiry).to_string()),
            ("externalId", request.id.to_string()),
        ];
        let reply = self.api.post("createinvoice", &form).await?;
        match reply.status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                return Err(WalletError::Unavailable(Some(reply.unexpected().into())));
            }
            status if status.is_client_error() => {
                return Err(WalletError::Refused(reply.unexpected().to_string()));
            }
            _ => return Err(WalletError::OutcomeUnknown(Some(reply.unexpected().into()))),
        }
        let nonsense = |what: String| WalletError::Nonsense(format!("createinvoice: {what}"));
        let made: GeneratedInvoice =
            reply.json().map_err(|error| nonsense(format!("unreadable response: {error}")))?;
        let invoice: Bolt11 = made.serialized.parse().map_err(|error| nonsense(format!("{error}")))?;
        let expected = ExpectedInvoice {
            network: self.network,
            amount: request.amount.to_msats(),
            payment_hash: Some(made.payment_hash),
            // The clocks of two machines differ.
            expires_after: self.clock.now() + request.expiry / 2,
        };
        invoice.check(&expected).map_err(|mismatch| nonsense(mismatch.to_string()))?;
        Ok(invoice)
    }

    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError> {
        self.check().await?;
        let found = incoming::find(&self.api, payment_hash).await?;
        found.map(|payment| payment.status(self.clock.now())).transpose()
    }

    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError> {
        self.check().await?;
        let socket = events::connect(&self.api, self.tls.clone()).await?;
        Ok(events::payments(socket, Arc::clone(&self.api)))
    }

    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        self.check().await?;
        self.payer.send(&self.api, &*self.clock, self.network, order).await
    }

    async fn payment_status(
        &self,
        _id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        self.check().await?;
        self.payer.status(&self.api, &*self.clock, payment_hash).await
    }

    /// The channels' balance in whole sats, and the fee credit: see the crate's documentation.
    async fn balance(&self) -> Result<Msats, WalletError> {
        let funds = self.funds().await?;
        let sum = funds.channels.to_msats().checked_add(funds.fee_credit.to_msats());
        sum.map_err(|error| WalletError::Nonsense(format!("getbalance: {error}")))
    }

    /// Only Lightning payments: phoenixd's transactions on the chain have no payment hash.
    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
        self.check().await?;
        list::settled(&self.api, since).await
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
