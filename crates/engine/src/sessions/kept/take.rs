//! Taking the payment of a kept request that is done, or giving it back.

use super::super::service::Sessions;
use super::HeldDeposit;
use super::end::KeptEnd;
use super::offer::OfferedSession;
use super::work::Step;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::payments::{HoldOutcome, hold_rest};
use std::time::Duration;
use tithe_sessions::KeptRequest;
use tracing::warn;

impl Sessions {
    /// Takes the payment of a request that is done. It is credited together with the charge.
    pub(super) async fn kept_settle(&self, kept: &KeptRequest) -> Step {
        let stored = match self.core.ports.store.session(kept.session).await {
            Ok(stored) => stored,
            Err(failure) => {
                warn!(error = chain(&failure), "the held payment is looked at again later");
                return Step::HandBack(self.kept_rest(kept));
            }
        };
        let Some(session) = stored else { return Step::HandBack(self.kept_rest(kept)) };
        let id = OfferedSession::hold_invoice_of(&session).id();
        let settled = self.payments.settle_held(id, kept.invoice).await;
        if matches!(settled, Ok(HoldOutcome::Gone)) {
            warn!(payment_hash = %kept.invoice, "the payment of finished work had gone back");
        }
        self.kept_outcome(kept, settled).await
    }

    /// Gives the payment of a request back that was not done.
    pub(super) async fn kept_cancel(&self, kept: &KeptRequest) -> Step {
        let cancelled = self.payments.cancel_held(kept.invoice).await;
        if matches!(cancelled, Ok(HoldOutcome::Credited)) {
            warn!(payment_hash = %kept.invoice, "a payment was received that was to be given back; it can be used, or claimed");
        }
        self.kept_outcome(kept, cancelled).await
    }

    async fn kept_outcome(&self, kept: &KeptRequest, outcome: Result<HoldOutcome, EngineError>) -> Step {
        match outcome {
            Ok(HoldOutcome::Open) => Step::HandBack(self.kept_rest(kept)),
            // After a credit it has ended already, unless a server has made it that knows nothing of kept requests.
            Ok(HoldOutcome::Credited | HoldOutcome::Gone) => {
                let held = HeldDeposit::of(kept, self.core.settings.idempotency_keep);
                let (session, invoice, lease) = (kept.session, kept.invoice, kept.lease);
                let end = KeptEnd { session, invoice, held, lease };
                self.kept_end(end, self.kept_rest(kept)).await
            }
            Err(failure) => {
                warn!(error = chain(&failure), "the held payment is looked at again later");
                Step::HandBack(self.kept_rest(kept))
            }
        }
    }

    /// How long the wallet is not asked again.
    fn kept_rest(&self, kept: &KeptRequest) -> Duration {
        hold_rest(self.core.now().since(kept.updated_at))
    }

    async fn kept_end(&self, end: KeptEnd, rest: Duration) -> Step {
        let session = end.session;
        match self.core.committer.commit(end).await {
            Ok(()) => {
                self.payouts.wake();
                self.admission.release_held(session.0);
                Step::Over
            }
            // It had ended.
            Err(CommitError::Refused(Refusal::LeaseLost { .. })) => Step::Over,
            Err(failure) => {
                warn!(error = chain(&failure), "the kept request could not be ended yet");
                Step::HandBack(rest)
            }
        }
    }
}
