//! The use cases of sessions.

use super::kept::{KeptMaking, ReadSent, SlowModels};
use super::macaroons::MacaroonKeys;
use super::offers::Offers;
use super::request_offers::{OfferedRequest, RequestOffers};
use super::undelivered::Undelivered;
use super::waiters::{FOR_A_TOP_UP, FOR_AN_ANSWER, Waiter, Waiters};
use super::webhook_secrets::WebhookSecrets;
use crate::admission::Admission;
use crate::core::Core;
use crate::idempotency::Idempotency;
use crate::identities::Identities;
use crate::inference::BackendHealth;
use crate::metered::WorkSlots;
use crate::payments::Payments;
use crate::payouts::Payouts;
use crate::purchases::Purchases;
use crate::quotes::Quotes;
use crate::sales::SalesServices;
use std::sync::{Arc, OnceLock};
use tithe_paywall::payment::ChallengeKey;
use tithe_sessions::SessionId;
use tokio::sync::Notify;
use uuid::Uuid;

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
    /// The keys of challenges of the scheme `Payment`: the first issues them, all of them recognize them.
    pub(super) challenges: Vec<ChallengeKey>,
    pub(super) webhook_secrets: WebhookSecrets,
    pub(super) undelivered: Undelivered,
    pub(super) slots: WorkSlots,
    pub(super) offers: Offers,
    pub(super) request_offers: RequestOffers<OfferedRequest>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) dry: Arc<Waiters>,
    /// Reads kept requests.
    pub(super) sent_reader: OnceLock<Arc<dyn ReadSent>>,
    pub(super) slow_models: SlowModels,
    pub(super) kept_making: Arc<KeptMaking>,
    /// Notified of payments that are held.
    pub(super) kept_due: Arc<Notify>,
    /// What this server works on kept requests as.
    pub(super) worker: Uuid,
}

impl Sessions {
    pub(crate) fn new(
        core: Arc<Core>,
        services: SalesServices,
        macaroons: MacaroonKeys,
        webhook_secrets: WebhookSecrets,
        kept_due: Arc<Notify>,
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
        let challenges = macaroons.challenge_keys();
        let slots = WorkSlots::new(core.settings.session_requests);
        let worker = core.new_id();
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
            challenges,
            webhook_secrets,
            undelivered: Undelivered::default(),
            slots,
            offers: Offers::default(),
            request_offers: RequestOffers::default(),
            waiters: Waiters::at_most(FOR_AN_ANSWER),
            dry: Waiters::at_most(FOR_A_TOP_UP),
            sent_reader: OnceLock::new(),
            slow_models: SlowModels::default(),
            kept_making: Arc::default(),
            kept_due,
            worker,
        }
    }

    /// Room to wait for an answer, or for a payout, of this session; `None` if too many wait already.
    #[must_use]
    pub fn waiter(&self, session: SessionId) -> Option<Waiter> {
        self.waiters.join(session)
    }
}
