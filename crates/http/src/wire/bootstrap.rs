//! The bodies of bootstraps.

use super::InvoiceBody;
use super::refund::RefundBody;
use super::vocabulary::{BootstrapStateName, TierName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tithe_bootstrap::{BootstrapState, SshPublicKey};
use tithe_clock::Timestamp;
use tithe_engine::bootstraps::{BootstrapPlan, BootstrapView, CreatedBootstrap, NodeView};
use tithe_lightning::InvoiceState;
use tithe_money::MoneyError;
use utoipa::ToSchema;

/// A request for a node.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewBootstrapBody {
    /// The name of a plan, as `GET /api/bootstrap` lists them; defaults to the first.
    #[schema(nullable = false)]
    pub(crate) plan: Option<String>,
    /// Your public key for SSH, in one line as in `authorized_keys`. Without one, the node gets a password.
    #[schema(value_type = Option<String>, nullable = false, example = "ssh-ed25519 AAAA…")]
    pub(crate) ssh_public_key: Option<SshPublicKey>,
    /// The token of an identity.
    #[serde(rename = "nostr_token")]
    #[schema(nullable = false)]
    pub(crate) nostr_token: Option<String>,
}

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanBody {
    /// The name.
    name: String,
    /// The price, in sats.
    price_sats: u64,
}

impl From<&BootstrapPlan> for PlanBody {
    fn from(plan: &BootstrapPlan) -> Self {
        Self { name: plan.name.clone(), price_sats: plan.price.get() }
    }
}

/// The plans that are offered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanListBody {
    /// The plans. Empty if this server sells no nodes.
    pub(crate) plans: Vec<PlanBody>,
}

/// A created bootstrap.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedBootstrapBody {
    /// The id of the bootstrap.
    #[schema(format = "uuid")]
    bootstrap_job_id: String,
    /// The state: `awaiting_payment`.
    #[schema(value_type = BootstrapStateName)]
    state: &'static str,
    /// The name of the plan.
    plan: String,
    /// The price, in sats.
    amount_sats: u64,
    /// The invoice to pay.
    invoice: InvoiceBody,
    /// The token that gets the node's credentials, once. Keep it secret.
    claim_token: String,
    /// What happens next.
    message: &'static str,
    /// The trust tier of the caller.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
}

impl TryFrom<&CreatedBootstrap> for CreatedBootstrapBody {
    type Error = MoneyError;

    fn try_from(created: &CreatedBootstrap) -> Result<Self, MoneyError> {
        let bootstrap = &created.bootstrap;
        Ok(Self {
            bootstrap_job_id: bootstrap.id.to_string(),
            state: bootstrap.state_name().as_str(),
            plan: bootstrap.plan.clone(),
            amount_sats: bootstrap.amount.get(),
            invoice: InvoiceBody::try_from(&created.invoice)?,
            claim_token: created.claim_token.clone(),
            message: "Pay the invoice; then the node is made. Keep the claim token: it gets the credentials, once.",
            trust_tier: created.tier.as_str(),
        })
    }
}

/// A node that is ready.
#[derive(Debug, Serialize, ToSchema)]
struct NodeBody {
    /// The host name or the IP address.
    host: String,
    /// The credentials, such as `user` and `password`: in the first response only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credentials: Option<BTreeMap<String, String>>,
}

impl From<&NodeView> for NodeBody {
    fn from(node: &NodeView) -> Self {
        let credentials = node.credentials.clone().map(|credentials| credentials.0);
        Self { host: node.host.clone(), credentials }
    }
}

/// A bootstrap.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BootstrapBody {
    /// The id of the bootstrap.
    #[schema(format = "uuid")]
    bootstrap_job_id: String,
    /// The state.
    #[schema(value_type = BootstrapStateName)]
    state: &'static str,
    /// The name of the plan.
    plan: String,
    /// The price, in sats.
    amount_sats: u64,
    /// What the state means, and what happens next.
    message: String,
    /// The invoice, while it is unpaid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    invoice: Option<InvoiceBody>,
    /// The node, once it is ready; only with the claim token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    node: Option<NodeBody>,
    /// Whether the credentials of a node that is ready were delivered, and are not stored any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credentials_delivered: Option<bool>,
    /// The refund, once the bootstrap has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refund: Option<RefundBody>,
    /// The time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The time of the last change.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The trust tier of the bootstrap's identity.
    #[serde(rename = "trust_tier")]
    #[schema(value_type = TierName)]
    trust_tier: &'static str,
}

impl TryFrom<&BootstrapView> for BootstrapBody {
    type Error = MoneyError;

    fn try_from(view: &BootstrapView) -> Result<Self, MoneyError> {
        let bootstrap = &view.bootstrap;
        let (message, delivered) = match &bootstrap.state {
            BootstrapState::AwaitingPayment => ("Pay the invoice; then the node is made.".to_owned(), None),
            BootstrapState::Provisioning { .. } => {
                ("The node is being made. Read this again in some seconds.".to_owned(), None)
            }
            BootstrapState::Ready { delivered_at: None, .. } => {
                let message =
                    "The node is ready. Read this with the claim token to get the credentials, once.";
                (message.to_owned(), Some(false))
            }
            BootstrapState::Ready { .. } => {
                ("The node is ready, and its credentials were delivered.".to_owned(), Some(true))
            }
            BootstrapState::Failed { message, .. } => (message.clone(), None),
            BootstrapState::Expired => ("The invoice was not paid in time.".to_owned(), None),
        };
        let pending = view.invoice.as_ref().filter(|invoice| invoice.state == InvoiceState::Pending);
        Ok(Self {
            bootstrap_job_id: bootstrap.id.to_string(),
            state: bootstrap.state_name().as_str(),
            plan: bootstrap.plan.clone(),
            amount_sats: bootstrap.amount.get(),
            message,
            invoice: pending.map(InvoiceBody::try_from).transpose()?,
            node: view.node.as_ref().map(NodeBody::from),
            // The response with the credentials says already that they are gone.
            credentials_delivered: delivered,
            refund: bootstrap.has_ended().then(|| RefundBody::from(&view.refund)),
            created_at: bootstrap.created_at,
            updated_at: bootstrap.updated_at,
            trust_tier: view.tier.as_str(),
        })
    }
}
