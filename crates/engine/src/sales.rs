//! What the services have in common that sell something.

use crate::admission::Admission;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::BackendHealth;
use crate::payments::Payments;
use crate::payouts::Payouts;
use crate::purchases::Purchases;
use crate::quotes::Quotes;
use std::sync::Arc;

/// The services that everything sold is built on.
#[derive(Clone)]
pub(crate) struct SalesServices {
    pub(crate) idempotency: Arc<Idempotency>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) payments: Arc<Payments>,
    pub(crate) payouts: Arc<Payouts>,
    pub(crate) purchases: Arc<Purchases>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) quotes: Arc<Quotes>,
    pub(crate) backend: Arc<BackendHealth>,
}
