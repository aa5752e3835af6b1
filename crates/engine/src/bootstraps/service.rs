//! The use cases of bootstraps.

use super::health::ProvisionerHealth;
use super::plan::BootstrapPlan;
use super::seal::Seal;
use crate::claim_token::ClaimTokens;
use crate::core::Core;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::payments::Payments;
use crate::payouts::Payouts;
use crate::purchases::Purchases;
use crate::sales::SalesServices;
use std::sync::Arc;
use tithe_trust::Secrets;
use tokio::sync::Notify;
use uuid::Uuid;

/// The use cases of bootstraps.
pub struct Bootstraps {
    pub(super) core: Arc<Core>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) identities: Arc<Identities>,
    pub(super) payments: Arc<Payments>,
    pub(super) payouts: Arc<Payouts>,
    pub(super) purchases: Arc<Purchases>,
    pub(super) tokens: ClaimTokens,
    pub(super) seal: Seal,
    pub(super) health: ProvisionerHealth,
    /// Notified when one is paid for.
    pub(super) paid: Arc<Notify>,
    /// The name of this run of this server, in claims.
    pub(super) claim_owner: Uuid,
}

impl Bootstraps {
    pub(crate) fn new(
        core: Arc<Core>,
        services: SalesServices,
        secrets: &Secrets,
        paid: Arc<Notify>,
    ) -> Self {
        let SalesServices { idempotency, identities, payments, payouts, purchases, .. } = services;
        let claim_owner = uuid::Builder::from_random_bytes(core.ports.entropy.bytes()).into_uuid();
        let (tokens, seal) = (ClaimTokens::of_bootstraps(secrets), Seal::new(secrets));
        let health = ProvisionerHealth::default();
        Self {
            core,
            idempotency,
            identities,
            payments,
            payouts,
            purchases,
            tokens,
            seal,
            health,
            paid,
            claim_owner,
        }
    }

    /// The plans that are offered, in the operator's order. Without any, this server sells no nodes.
    #[must_use]
    pub fn plans(&self) -> &[BootstrapPlan] {
        &self.core.settings.bootstrap_plans
    }
}
