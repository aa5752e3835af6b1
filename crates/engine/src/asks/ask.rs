//! Doing a plain request: set aside, work, settle.

use super::ask_finish::{AskEnded, AskFinish, AskOutcome, FinishedAsk, RenderAsk};
use super::ask_release::AskRelease;
use super::ask_renew::AskRenew;
use super::begin::{Begun, Running};
use super::new_ask::NewAsk;
use super::payer::AskPayer;
use super::service::Asks;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::idempotency::{Attached, KeyedResponse};
use crate::inference::{InferenceError, Target};
use crate::metered::{Done, Failure, MeteredRequest, Worked};
use crate::records::{IdempotencyId, IdempotencyRequest, KeyOrigin};
use crate::settings::WhenClientLeaves;
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::Chat;
use tithe_free_tier::{RequestHash, ReservationId};
use tithe_ledger::credits::{Backend, CreditId};
use tithe_money::Msats;
use tithe_trust::Tier;
use tokio::task::JoinHandle;
use tracing::{Instrument, info, info_span, warn};
use uuid::Uuid;

/// How long a finished request waits before it tries again to commit its result.
const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

impl Asks {
    /// Does a plain request that an install's plan includes, or that the pool pays for. A request that the evaluation rejects has a
    /// response too.
    ///
    /// # Errors
    /// [`EngineError::PaymentNeeded`] when nobody pays; those of the request itself; [`EngineError::HardwareUnavailable`],
    /// [`EngineError::NoBackend`], [`EngineError::WorkFailed`], [`EngineError::WorkRefused`]: what was set aside is given back.
    pub async fn ask(
        &self,
        new: NewAsk,
        idempotency: Option<IdempotencyRequest>,
        render: Arc<dyn RenderAsk>,
    ) -> Result<KeyedResponse, EngineError> {
        let mut idempotency = match self.idempotency.attach(idempotency).await? {
            Attached::Begin(idempotency) => idempotency,
            Attached::Answered(response) => return Ok(KeyedResponse::replay(response)),
        };
        let mut begun = self.begin(&new, idempotency.as_ref()).await;
        let is_first = idempotency.as_ref().is_some_and(|request| request.origin == KeyOrigin::FirstTry);
        if is_first && matches!(begun, Err(EngineError::RequestInProgress)) {
            // The same first try has begun a moment ago: this is another one.
            idempotency = None;
            begun = self.begin(&new, None).await;
        }
        let is_derived = idempotency.as_ref().is_some_and(|request| request.origin != KeyOrigin::Client);
        let running = match begun? {
            Begun::Running(running) => running,
            Begun::Replayed(response) => return Ok(response),
        };
        let span = info_span!("ask", ask_id = %running.id);
        new.client.begun.cancel();
        let key = idempotency.map(|request| request.id);
        let done = async {
            let worked = tokio::select! {
                worked = self.work_in_turn(&running, &new) => worked,
                () = self.keep(&running, key.as_ref()) => {
                    warn!("what was set aside for the request was lost");
                    Err(EngineError::WorkFailed)
                }
            };
            match worked {
                Ok(worked) => {
                    // A client that tries again by itself did not get the answer, and half of one is no answer.
                    let is_answer = !(worked.is_abandoned() && (is_derived || worked.is_nothing()));
                    let finish = key.clone().filter(|_| is_answer).map(|key| (key, Arc::clone(&render)));
                    let finished = self.finish(&running, new.prompt.hash(), worked, finish).await;
                    if let Some(key) = key.clone().filter(|_| !is_answer) {
                        self.idempotency.release_of(key, Some(running.id)).await;
                    }
                    finished
                }
                Err(failure) => Err(failure),
            }
        };
        match done.instrument(span).await {
            Ok(finished) => Ok(KeyedResponse::new(render.render(&finished))),
            Err(failure) => {
                // The customer learns of the failure when a retry can begin.
                let _ended = self.give_back(running.id, running.payer, key).await;
                Err(failure)
            }
        }
    }

    /// Where a request is done.
    fn targets_of(&self, running: &Running, chat: &Chat) -> Result<Vec<Target>, EngineError> {
        match (running.backend, &self.core.ports.hardware) {
            (Backend::Cloud, _) => Ok(self.quotes.targets(&running.quotes.work.model, chat)?),
            (Backend::Hardware, Some(hardware)) => {
                Ok(vec![Target::hardware(&hardware.inference, &hardware.model)])
            }
            (Backend::Hardware, None) => Err(EngineError::Internal),
        }
    }

    /// Does the work once there is a slot for it. Only those wait for one who have set something aside, and only while their client
    /// waits.
    async fn work_in_turn(&self, running: &Running, new: &NewAsk) -> Result<Worked, EngineError> {
        let _slot = tokio::select! {
            slot = self.slots.take() => slot?,
            () = new.client.gone.cancelled() => return Err(EngineError::WorkFailed),
        };
        let request = MeteredRequest {
            id: running.id,
            prompt: &new.prompt,
            quotes: &running.quotes,
            targets: &self.targets_of(running, new.prompt.as_chat())?,
            health: (running.backend == Backend::Cloud).then_some(&*self.backend),
            patience: self.core.settings.work_timeout,
            client: &new.client,
            needs_text: false,
            cover: None,
            // Nobody bills what the operator's own machine does.
            when_client_leaves: match running.backend {
                Backend::Cloud => self.core.settings.when_client_leaves,
                Backend::Hardware => WhenClientLeaves::Cancel,
            },
        };
        request.run(&self.quotes).await.map_err(|failure| {
            warn!(error = failure.cause(), backend = %running.backend, "the request failed");
            error_of(running.backend, &failure)
        })
    }

    /// Renews what is set aside, and the lease of the idempotency key, for as long as they are ours; returns when they no longer
    /// are.
    async fn keep(&self, running: &Running, key: Option<&IdempotencyId>) {
        let lease = self.core.settings.lease;
        let renew = AskRenew { id: running.id, payer: running.payer, lease, key: key.cloned() };
        loop {
            tokio::time::sleep(lease / 3).await;
            match self.core.committer.commit(renew.clone()).await {
                Err(CommitError::Refused(refusal)) => {
                    warn!(%refusal, "what was set aside for the request has ended");
                    return;
                }
                Err(failure) => warn!(error = chain(&failure), "the request's lease could not be renewed"),
                Ok(()) => {}
            }
        }
    }

    /// Commits the end of a request that the models have answered.
    async fn finish(
        &self,
        running: &Running,
        request_hash: RequestHash,
        worked: Worked,
        finish: Option<(IdempotencyId, Arc<dyn RenderAsk>)>,
    ) -> Result<FinishedAsk, EngineError> {
        let Some(outcome) = outcome(&worked) else {
            worked.unpaid(&self.quotes, running.id).await;
            return Err(EngineError::WorkFailed);
        };
        let command = AskFinish {
            id: running.id,
            payer: running.payer,
            model: running.quotes.work.model.clone(),
            backend: running.backend,
            request_hash,
            limit: running.limit,
            outcome,
            finish,
        };
        match self.commit_finish(&command).await {
            Ok(AskEnded::Answered(finished)) => {
                if finished.answer.is_ok() {
                    worked.paid(&self.quotes, running.id).await;
                } else {
                    // The pool pays for no rejected request.
                    worked.unpaid(&self.quotes, running.id).await;
                }
                info!(
                    cost_msats = finished.cost.get(),
                    absorbed_msats = finished.absorbed.get(),
                    "request finished"
                );
                Ok(*finished)
            }
            Ok(AskEnded::GivenBack) => {
                worked.unpaid(&self.quotes, running.id).await;
                Err(EngineError::WorkFailed)
            }
            Err(failure) => {
                worked.unpaid(&self.quotes, running.id).await;
                Err(failure)
            }
        }
    }

    async fn commit_finish(&self, command: &AskFinish) -> Result<AskEnded, EngineError> {
        let mut is_retry = false;
        loop {
            match self.core.committer.commit(command.clone()).await {
                Ok(ended) => return Ok(ended),
                Err(CommitError::Refused(refusal)) => {
                    // An earlier try may have been committed although its outcome was not known.
                    if is_retry {
                        match self.finished_before(command).await {
                            Ok(Some(finished)) => return Ok(AskEnded::Answered(Box::new(finished))),
                            Ok(None) => {}
                            Err(failure) => {
                                warn!(error = chain(&failure), "the end of the request cannot be read yet");
                                tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                                continue;
                            }
                        }
                    }
                    warn!(%refusal, "the result of the request was refused");
                    return Err(EngineError::WorkFailed);
                }
                Err(CommitError::Failed) => return Err(EngineError::Internal),
                // The lease bounds the wait: without a renewal, a sweep gives back what was set aside.
                Err(failure) => {
                    warn!(error = chain(&failure), "the result of the request is not committed yet");
                    is_retry = true;
                    tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// The request as it has ended, if its end was committed and it took what was set aside.
    async fn finished_before(&self, command: &AskFinish) -> Result<Option<FinishedAsk>, EngineError> {
        let AskOutcome::Completed { answer, cost } = &command.outcome else { return Ok(None) };
        let store = &self.core.ports.store;
        let (absorbed, balance, tier) = match command.payer {
            AskPayer::Install(install) => {
                let credit = store.credit(CreditId(command.id)).await?;
                let install = store.install(install).await?;
                let (Some(credit), Some(install)) = (credit, install) else { return Ok(None) };
                if credit.state.taken().is_none() {
                    return Ok(None);
                }
                let balance = install.balance(credit.plan, &credit.quota, self.core.now());
                (Msats::ZERO, Some(balance), Tier::Anonymous)
            }
            AskPayer::Pool(identity) => {
                let reservation = store.reservation(ReservationId(command.id)).await?;
                let taken = reservation.and_then(|reservation| reservation.state.taken());
                let Some(absorbed) = taken else { return Ok(None) };
                (absorbed, None, self.identities.tier_of(Some(identity)).await?)
            }
        };
        Ok(Some(FinishedAsk {
            id: command.id,
            model: command.model.clone(),
            backend: command.backend,
            answer: Ok(answer.clone()),
            cost: *cost,
            absorbed,
            balance,
            tier,
        }))
    }

    /// Gives back what was set aside for a request that has no answer, or what may have been: if there is nothing, nothing happens. It
    /// goes on when nobody waits for it.
    pub(super) fn give_back(&self, id: Uuid, payer: AskPayer, key: Option<IdempotencyId>) -> JoinHandle<()> {
        let release = AskRelease { id, payer, key };
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            // When the lease has run out, a sweep gives it back.
            let until = tokio::time::Instant::now() + core.settings.lease;
            while let Err(failure) = core.committer.commit(release.clone()).await {
                if let CommitError::Refused(refusal) = &failure {
                    // It has ended already.
                    info!(ask_id = %id, %refusal, "nothing was given back");
                    break;
                }
                if tokio::time::Instant::now() >= until {
                    warn!(ask_id = %id, error = chain(&failure), "nothing was given back; a sweep does it");
                    break;
                }
                tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
            }
        })
    }
}

/// How a request ends that the models have answered; `None` if its client had gone before the work began.
fn outcome(worked: &Worked) -> Option<AskOutcome> {
    let cost = worked.cost;
    match worked.done.clone() {
        Done::Completed(answer) => Some(AskOutcome::Completed { answer, cost }),
        Done::NotAsked => None,
        Done::Rejected(reason) => Some(AskOutcome::Rejected { reason }),
        Done::Unreadable(reason) => Some(AskOutcome::Unreadable { reason }),
    }
}

/// The error for the customer of a request that the backend has not done.
fn error_of(backend: Backend, failure: &Failure) -> EngineError {
    let Failure::Backend(cause) = failure else { return EngineError::WorkFailed };
    match (backend, cause) {
        (_, InferenceError::Refused(_)) => EngineError::WorkRefused,
        (Backend::Hardware, InferenceError::Unavailable { retry_after, .. }) => {
            EngineError::HardwareUnavailable { retry_after: *retry_after }
        }
        (Backend::Hardware, InferenceError::TimedOut | InferenceError::Misconfigured(_)) => {
            EngineError::HardwareUnavailable { retry_after: None }
        }
        (Backend::Cloud, InferenceError::Unavailable { .. } | InferenceError::Misconfigured(_)) => {
            EngineError::NoBackend
        }
        _ => EngineError::WorkFailed,
    }
}
