//! Reading bootstraps, and delivering credentials.

use super::bootstrap_deliver::BootstrapDeliver;
use super::service::Bootstraps;
use super::steps::account_of;
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::committer::CommitError;
use crate::error::{EngineError, InvalidCredential};
use crate::payouts::RefundView;
use tithe_bootstrap::{Bootstrap, BootstrapError, BootstrapId, BootstrapState, Credentials};
use tithe_lightning::{Invoice, PaymentHash, Preimage};
use tithe_payouts::{Destination, PayoutError};
use tithe_trust::{NostrPubkey, Tier};
use tracing::{error, info};

/// A node, for the holder of the claim token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// The host name or the IP address.
    pub host: String,
    /// The credentials, the one time that they are shown; `None` ever after.
    pub credentials: Option<Credentials>,
}

/// A bootstrap with its invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapView {
    /// The bootstrap.
    pub bootstrap: Bootstrap,
    /// The invoice.
    pub invoice: Option<Invoice>,
    /// The node, if it is ready and the claim token was presented.
    pub node: Option<NodeView>,
    /// The present tier of the bootstrap's identity.
    pub tier: Tier,
    /// What is owed to the customer.
    pub refund: RefundView,
}

impl Bootstraps {
    /// A bootstrap. An unpaid invoice is looked up at the wallet first, at most once a second. With the claim token of a bootstrap
    /// whose node is ready, the first call returns the credentials, and forgets them before it returns.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Busy`]; [`EngineError::InvalidIdentity`] when a token was presented that is not the
    /// bootstrap's.
    pub async fn view(
        &self,
        id: BootstrapId,
        claim_token: Option<&str>,
        deliver: bool,
    ) -> Result<BootstrapView, EngineError> {
        let claimed = match claim_token {
            Some(token) if !self.tokens.verify(id.0, token) => {
                return Err(InvalidCredential::ClaimToken.into());
            }
            token => token.is_some(),
        };
        let mut view = self.view_as_stored(id).await?;
        if let Some(invoice) = &view.invoice
            && self.payments.check_on_read(invoice).await
        {
            view = self.view_as_stored(id).await?;
        }
        let BootstrapState::Ready { host, .. } = &view.bootstrap.state else { return Ok(view) };
        if claimed {
            let (host, sealed) = (host.clone(), view.bootstrap.sealed.clone());
            let mut credentials = None;
            if let Some(sealed) = sealed.filter(|_| deliver)
                && let Some((delivered, opened)) = self.delivered(id, &sealed).await?
            {
                // They exist only here from now on: nothing that follows may fail.
                (view.bootstrap, credentials) = (delivered, Some(opened));
            }
            view.node = Some(NodeView { host, credentials });
        }
        Ok(view)
    }

    /// Decrypts credentials, and forgets them; `None` when another request was first.
    async fn delivered(
        &self,
        id: BootstrapId,
        sealed: &str,
    ) -> Result<Option<(Bootstrap, Credentials)>, EngineError> {
        // What cannot be decrypted is kept: the secret may come back.
        let opened = self.seal.open(id, sealed).and_then(|text| serde_json::from_str(&text).ok());
        let Some(credentials) = opened else {
            error!(bootstrap_id = %id, "the credentials of a node cannot be decrypted: was a secret removed?");
            return Err(EngineError::Internal);
        };
        match self.core.committer.commit(BootstrapDeliver { bootstrap: id }).await {
            Ok(delivered) => {
                info!(bootstrap_id = %id, "credentials delivered");
                Ok(Some((*delivered, credentials)))
            }
            Err(CommitError::Refused(Refusal::Bootstrap(BootstrapError::Delivered))) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Sets where the refund of a bootstrap is paid, for the holder of its claim token or for its identity. Asking again is safe.
    ///
    /// # Errors
    /// As [`crate::jobs::Jobs::refund`].
    pub async fn refund(
        &self,
        id: BootstrapId,
        identity: Option<NostrPubkey>,
        claim_token: Option<&str>,
        destination: Destination,
    ) -> Result<RefundView, EngineError> {
        let stored = self.core.ports.store.bootstrap(id).await?;
        let bootstrap = stored.ok_or_else(|| EngineError::not_found(rows::Bootstraps::NAME, &id))?;
        self.tokens.check_owner(id.0, claim_token, bootstrap.identity, identity)?;
        if bootstrap.refund.is_zero() {
            return Err(EngineError::Payout(PayoutError::NothingDue));
        }
        self.payouts.direct(account_of(id), destination).await
    }

    /// Whether somebody owns a bootstrap that `invoice` pays for: its identity does, and so does whoever presents, as `secret`, its
    /// claim token or the preimage of the payment.
    ///
    /// # Errors
    /// [`EngineError::Busy`].
    pub async fn is_owner(
        &self,
        id: BootstrapId,
        invoice: PaymentHash,
        identity: Option<NostrPubkey>,
        secret: Option<&str>,
    ) -> Result<bool, EngineError> {
        if let Some(secret) = secret {
            let preimage: Option<Preimage> = secret.parse().ok();
            if self.tokens.verify(id.0, secret) || preimage.is_some_and(|it| it.payment_hash() == invoice) {
                return Ok(true);
            }
        }
        let Some(identity) = identity else { return Ok(false) };
        let stored = self.core.ports.store.bootstrap(id).await?;
        Ok(stored.is_some_and(|bootstrap| bootstrap.identity == Some(identity)))
    }

    async fn view_as_stored(&self, id: BootstrapId) -> Result<BootstrapView, EngineError> {
        let store = &self.core.ports.store;
        let stored = store.bootstrap(id).await?;
        let bootstrap = stored.ok_or_else(|| EngineError::not_found(rows::Bootstraps::NAME, &id))?;
        let invoice = match bootstrap.invoice {
            Some(hash) => store.invoice(hash).await?,
            None => None,
        };
        let tier = self.identities.tier_of(bootstrap.identity).await?;
        let refund = self.payouts.refund(account_of(id), bootstrap.refund).await?;
        Ok(BootstrapView { bootstrap, invoice, node: None, tier, refund })
    }
}
