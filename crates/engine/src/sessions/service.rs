//! The use cases of sessions.

use super::macaroons::MacaroonKeys;
use super::places::Places;
use crate::admission::Admission;
use crate::core::Core;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::BackendHealth;
use crate::payments::Payments;
use crate::quotes::Quotes;
use std::sync::Arc;

/// The use cases of sessions.
pub struct Sessions {
    pub(super) core: Arc<Core>,
    pub(super) idempotency: Arc<Idempotency>,
    pub(super) identities: Arc<Identities>,
    pub(super) payments: Arc<Payments>,
    pub(super) quotes: Arc<Quotes>,
    pub(super) backend: Arc<BackendHealth>,
    pub(super) admission: Arc<Admission>,
    pub(super) macaroons: MacaroonKeys,
    pub(super) places: Places,
}

/// The services that sessions use.
pub(crate) struct SessionServices {
    pub(crate) idempotency: Arc<Idempotency>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) payments: Arc<Payments>,
    pub(crate) quotes: Arc<Quotes>,
    pub(crate) backend: Arc<BackendHealth>,
    pub(crate) admission: Arc<Admission>,
}

impl Sessions {
    pub(crate) fn new(core: Arc<Core>, services: SessionServices, macaroons: MacaroonKeys) -> Self {
        let SessionServices { idempotency, identities, payments, quotes, backend, admission } = services;
        let places = Places::new(core.settings.session_requests);
        Self { core, idempotency, identities, payments, quotes, backend, admission, macaroons, places }
    }
}
