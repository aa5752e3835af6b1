//! The use cases of sessions.

use super::macaroons::MacaroonKeys;
use super::offers::Offers;
use super::undelivered::Undelivered;
use super::webhook_secrets::WebhookSecrets;
use crate::admission::Admission;
use crate::core::Core;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::BackendHealth;
use crate::metered::RequestSlots;
use crate::payments::Payments;
use crate::payouts::Payouts;
use crate::purchases::Purchases;
use crate::quotes::Quotes;
use crate::sales::SalesServices;
use std::sync::Arc;

/// The use cases of sessions.
pub struct Sessions {
    pub(super) core: Arc<Core>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) identities: Arc<Identities>,
    pub(super) payments: Arc<Payments>,
    pub(super) quotes: Arc<Quotes>,
    pub(super) backend: Arc<BackendHealth>,
    pub(super) payouts: Arc<Payouts>,
    pub(super) purchases: Arc<Purchases>,
    pub(super) admission: Arc<Admission>,
    pub(super) macaroons: MacaroonKeys,
    pub(super) webhook_secrets: WebhookSecrets,
    pub(super) undelivered: Undelivered,
    pub(super) slots: RequestSlots,
    pub(super) offers: Offers,
}

impl Sessions {
    pub(crate) fn new(
        core: Arc<Core>,
        services: SalesServices,
        macaroons: MacaroonKeys,
        webhook_secrets: WebhookSecrets,
    ) -> Self {
        let SalesServices {
            idempotency,
            identities,
            payments,
            purchases,
            payouts,
            quotes,
            backend,
            admission,
        } = services;
        let slots = RequestSlots::new(core.settings.session_requests);
        Self {
            core,
            idempotency,
            identities,
            payments,
            quotes,
            backend,
            payouts,
            purchases,
            admission,
            macaroons,
            webhook_secrets,
            undelivered: Undelivered::default(),
            slots,
            offers: Offers::default(),
        }
    }
}
