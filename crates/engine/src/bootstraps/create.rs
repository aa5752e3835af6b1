//! Creating bootstraps: see [`crate::purchases`] for the steps.

use super::bootstrap_create::BootstrapCreate;
use super::owner::BootstrapOwner;
use super::plan::BootstrapPlan;
use super::service::Bootstraps;
use crate::admission::{Origin, Share};
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::error::{EngineError, RequestError};
use crate::idempotency::KeyedResponse;
use crate::identities::RequestSignature;
use crate::payments::{NewInvoice, PaymentOwner};
use crate::purchases::{Buyer, NewPurchase, Purchase, Purchased};
use crate::records::{IdempotencyRequest, StoredResponse};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tithe_bootstrap::{Bootstrap, BootstrapId, NewBootstrap, RootPassword, SshPublicKey};
use tithe_lightning::{Invoice, OwnerId, PaymentHash, Purpose};
use tithe_trust::{NostrPubkey, Tier};
use uuid::Uuid;

/// A request for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBootstrapRequest {
    /// The name of the plan; `None` means the first.
    pub plan: Option<String>,
    /// The customer's key for SSH.
    pub ssh_public_key: Option<SshPublicKey>,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The signature of the request, which is consumed when the bootstrap is recorded.
    pub signature: RequestSignature,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub origin: Option<Origin>,
}

/// A bootstrap that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedBootstrap {
    /// The bootstrap.
    pub bootstrap: Bootstrap,
    /// Its invoice.
    pub invoice: Invoice,
    /// The token that proves that its holder created it: whoever has it gets the node's credentials.
    pub claim_token: String,
    /// The tier of its identity.
    pub tier: Tier,
}

/// Renders the response that is given for a bootstrap, and stored for its idempotency key.
pub type RenderBootstrap<'a> = &'a (dyn Fn(&CreatedBootstrap) -> StoredResponse + Send + Sync);

impl Bootstraps {
    /// Creates a bootstrap and its invoice.
    ///
    /// # Errors
    /// [`EngineError::NoNodes`] when this server sells no nodes; others as [`EngineError`] says. In each case nothing can be paid,
    /// and repeating the request with the same key makes no second one.
    pub async fn create(
        &self,
        new: NewBootstrapRequest,
        idempotency: Option<IdempotencyRequest>,
        render: RenderBootstrap<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        if let Some(request) = &idempotency
            && let Some(response) = self.idempotency.stored(request).await?
        {
            return Ok(KeyedResponse::replay(response));
        }
        let plan = self.plan(new.plan.as_deref())?.clone();
        let NewBootstrapRequest { ssh_public_key, identity, signature, origin, .. } = new;
        let id = BootstrapId(self.core.new_id());
        let making = async {
            // A provisioner that cannot work is not sold.
            self.check_provisioner().await?;
            let sealed = match ssh_public_key {
                Some(_) => None,
                None => Some(self.sealed_password(id)?),
            };
            let (amount, created_at) = (plan.price, self.core.now());
            let plan = plan.name;
            Ok(Bootstrap::new(NewBootstrap {
                id,
                plan,
                amount,
                ssh_public_key,
                sealed,
                identity,
                created_at,
            }))
        };
        let render = |Purchased { item: bootstrap, invoice, tier }: Purchased<Bootstrap>| {
            let claim_token = self.tokens.token(bootstrap.id.0);
            Ok(render(&CreatedBootstrap { bootstrap, invoice, claim_token, tier }))
        };
        let buyer = Buyer { identity, signature, origin, idempotency, share: Share::All };
        self.purchases.create(id.0, buyer, making, &render).await
    }

    fn plan(&self, wanted: Option<&str>) -> Result<&BootstrapPlan, EngineError> {
        let plans = self.plans();
        let first = plans.first().ok_or(EngineError::NoNodes)?;
        let Some(wanted) = wanted else { return Ok(first) };
        plans.iter().find(|plan| plan.name == wanted).ok_or_else(|| {
            let offered: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
            let name = wanted.chars().take(100).collect();
            RequestError::UnknownPlan { name, offered: offered.join(", ") }.into()
        })
    }

    fn sealed_password(&self, id: BootstrapId) -> Result<String, EngineError> {
        let entropy = self.core.ports.entropy.as_ref();
        let password = RootPassword::from_random(entropy.bytes());
        self.seal.seal(id, password.reveal(), entropy).ok_or(EngineError::Internal)
    }
}

impl Purchase for Bootstrap {
    type Create = BootstrapCreate;
    const NAME: &'static str = rows::Bootstraps::NAME;

    fn id(&self) -> Uuid {
        self.id.0
    }

    fn identity(&self) -> Option<NostrPubkey> {
        self.identity
    }

    fn first_invoice(&self) -> Option<PaymentHash> {
        self.invoice
    }

    fn has_ended(&self) -> bool {
        Self::has_ended(self)
    }

    fn create(&self, new: &NewPurchase<'_>) -> BootstrapCreate {
        BootstrapCreate {
            bootstrap: Box::new(self.clone()),
            idempotency: new.idempotency.cloned(),
            signature: new.signature,
            instead_of: new.instead_of.map(BootstrapId),
        }
    }

    fn owner(&self) -> Arc<dyn PaymentOwner> {
        Arc::new(BootstrapOwner { bootstrap: self.id })
    }

    fn invoice(&self) -> NewInvoice {
        NewInvoice {
            owner: OwnerId(self.id.0),
            purpose: Purpose::Bootstrap,
            nth: 0,
            amount: self.amount,
            // Every node on the way of the payment can read it: no id of ours.
            description: "Tithe: a node".to_owned(),
        }
    }

    fn was_abandoned(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::Bootstrap(_))
    }

    async fn stored(store: &dyn Store, id: Uuid) -> Result<Option<Self>, StoreError> {
        store.bootstrap(BootstrapId(id)).await
    }
}
