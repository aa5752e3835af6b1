//! The use cases of plain requests.

use crate::core::Core;
use crate::credits::Credits;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::BackendHealth;
use crate::metered::RequestSlots;
use crate::quotes::Quotes;
use crate::sales::SalesServices;
use std::sync::Arc;

/// The use cases of plain requests.
pub struct Asks {
    pub(super) core: Arc<Core>,
    pub(super) credits: Arc<Credits>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) identities: Arc<Identities>,
    pub(super) quotes: Arc<Quotes>,
    pub(super) backend: Arc<BackendHealth>,
    pub(super) slots: RequestSlots,
}

impl Asks {
    pub(crate) fn new(core: Arc<Core>, credits: Arc<Credits>, services: SalesServices) -> Self {
        let SalesServices { idempotency, identities, quotes, backend, .. } = services;
        // Of their own: what nobody pays sats for keeps no session waiting.
        let slots = RequestSlots::new(core.settings.ask_requests);
        Self { core, credits, idempotency, identities, quotes, backend, slots }
    }
}
