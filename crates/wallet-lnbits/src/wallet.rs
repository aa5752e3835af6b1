//! The wallet: the port to the modules that do the work.

use crate::api::{Api, ApiError};
use crate::outgoing::Rules;
use crate::settings::LnbitsSettings;
use crate::{events, incoming, outgoing, settled};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use tithe_clock::{Clock, Timestamp};
use tithe_lightning::{
    Bolt11, InvoiceRequest, InvoiceStatus, Network, Payment, PaymentHash, PaymentId, PaymentOrder,
    ReceivedPayments, Wallet, WalletCapabilities, WalletError, WalletPayment,
};
use tithe_money::Msats;

/// The reason why the settings make no wallet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LnbitsWalletError {
    /// The URL is not one of a server.
    #[error("invalid LNbits URL: expected http(s)://host/path without credentials, query or fragment")]
    Url,
    /// The HTTP client cannot be created, for example because the machine has no root certificates.
    #[error("cannot create the HTTP client for LNbits")]
    Client(#[source] reqwest::Error),
}

/// A wallet at LNbits.
pub struct LnbitsWallet {
    api: Api,
    rules: Rules,
    clock: Arc<dyn Clock>,
}

impl LnbitsWallet {
    /// The wallet with these settings. Sends no requests.
    ///
    /// # Errors
    /// [`LnbitsWalletError`].
    pub fn new(settings: &LnbitsSettings, clock: Arc<dyn Clock>) -> Result<Self, LnbitsWalletError> {
        let api = Api::new(settings).map_err(|error| match error {
            ApiError::Url => LnbitsWalletError::Url,
            ApiError::Client(error) => LnbitsWalletError::Client(error),
        })?;
        let rules = Rules { network: settings.network, funding_fee: settings.funding_fee };
        Ok(Self { api, rules, clock })
    }

    /// Whether the key may pay: an invoice key may not. Changes nothing.
    ///
    /// # Errors
    /// [`WalletError`] when LNbits does not answer, or refuses the key.
    pub async fn may_pay(&self) -> Result<bool, WalletError> {
        self.api.may_pay().await
    }

    /// The network of the wallet's last invoice or payment; `None` if it shows none. LNbits itself does not say which network it is on.
    ///
    /// # Errors
    /// [`WalletError`] when LNbits does not answer, or refuses the key.
    pub async fn network_seen(&self) -> Result<Option<Network>, WalletError> {
        let last = self.api.last_record().await?;
        let invoice = last.and_then(|record| record.bolt11.parse::<Bolt11>().ok());
        Ok(invoice.map(|invoice| invoice.network()))
    }
}

impl fmt::Debug for LnbitsWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LnbitsWallet").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[async_trait]
impl Wallet for LnbitsWallet {
    fn network(&self) -> Network {
        self.rules.network
    }

    fn capabilities(&self) -> WalletCapabilities {
        WalletCapabilities::default()
    }

    /// A repeated call creates another invoice.
    async fn invoice_create(&self, request: &InvoiceRequest) -> Result<Bolt11, WalletError> {
        incoming::create(&self.api, self.rules.network, request, self.clock.now()).await
    }

    async fn invoice_status(&self, payment_hash: PaymentHash) -> Result<Option<InvoiceStatus>, WalletError> {
        incoming::status(&self.api, payment_hash, self.clock.now()).await
    }

    async fn payments_received(&self) -> Result<ReceivedPayments, WalletError> {
        events::subscribe(self.api.clone(), Arc::clone(&self.clock)).await
    }

    async fn payment_send(&self, order: &PaymentOrder) -> Result<Payment, WalletError> {
        outgoing::send(&self.api, self.rules, order).await
    }

    async fn payment_status(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
    ) -> Result<Option<Payment>, WalletError> {
        outgoing::status(&self.api, id, payment_hash, self.clock.now()).await
    }

    /// LNbits deducts payments in flight and the fees that it reserves for them.
    async fn balance(&self) -> Result<Msats, WalletError> {
        self.api.balance().await
    }

    /// LNbits does not record when a payment was settled: the time is that of the record's last change. A payment that was labelled
    /// afterwards is therefore listed again.
    async fn payments_settled(&self, since: Timestamp) -> Result<Vec<WalletPayment>, WalletError> {
        settled::since(&self.api, since).await
    }
}
