//! Doing a kept request, and taking its payment or giving it back.

use super::super::quoted_work::QuotedWork;
use super::super::request::{COMMIT_RETRY_INTERVAL, Running, outcome};
use super::super::request_finish::{RenderRequest, RequestOutcome};
use super::super::service::Sessions;
use super::answer::answer_of;
use super::claim::{KeptClaim, KeptLeaseChange};
use super::end::KeptEnd;
use super::finish::KeptFinish;
use super::offer::OfferedSession;
use super::read::ReadRequest;
use super::{HeldDeposit, WORK_WINDOW};
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log::millis;
use crate::metered::{Client, Worked};
use crate::payments::HoldOutcome;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_pricing::FinishReason;
use tithe_sessions::{KeptAnswer, KeptRequest, KeptState, RequestId, RequestState, SessionRequest};
use tithe_trust::Tier;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

/// With less than this left, work is not begun.
const LEFT_MIN: Duration = Duration::from_secs(10);

/// How long a request rests whose session could not be read, and one whose payment the wallet could neither take nor give back.
const READ_REST: Duration = Duration::from_secs(1);
const HOLD_REST: Duration = Duration::from_secs(2);

/// How often the database may refuse a result itself.
const COMMIT_FAILURES_MAX: u32 = 10;

/// How many kept requests are claimed at once.
const CLAIMED_AT_ONCE: usize = 64;

/// What a worker does next with a kept request.
enum Step {
    /// The next step, with the request as it is now.
    Next(Box<KeptRequest>),
    /// Nothing: it is over.
    Over,
    /// Nothing: it is another worker's now.
    Lost,
    /// It is given back as it is, and rests for this long.
    HandBack(Duration),
}

/// Why a request was not done.
enum NotDone {
    /// It may be tried again after a while.
    Later(Duration),
    /// For this reason. Nobody pays for it.
    Failed(String),
}

impl From<EngineError> for NotDone {
    fn from(failure: EngineError) -> Self {
        match failure {
            EngineError::Busy => Self::Later(READ_REST),
            failure => Self::Failed(chain(&failure)),
        }
    }
}

/// A request that can be done.
struct Prepared {
    running: Running,
    render: Arc<dyn RenderRequest>,
    tier: Tier,
}

/// A request that was done.
struct DoneRequest {
    worked: Worked,
    answer: KeptAnswer,
}

impl Sessions {
    /// Claims kept requests on which nobody works.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when the database does not answer.
    pub(crate) async fn claim_kept(&self) -> Result<Vec<KeptRequest>, EngineError> {
        let (store, owner, lease) = (&self.core.ports.store, self.worker, self.core.settings.lease);
        let mut claimed = Vec::new();
        for session in store.kept_requests_due(self.core.now(), CLAIMED_AT_ONCE).await? {
            match self.core.committer.commit(KeptClaim { session, owner, lease }).await {
                Ok(kept) => claimed.push(*kept),
                // Another server was first.
                Err(CommitError::Refused(_)) => {}
                // What is claimed is worked on.
                Err(failure) => {
                    warn!(error = chain(&failure), "a kept request could not be claimed");
                    break;
                }
            }
        }
        Ok(claimed)
    }

    /// Waits until a payment is held on this server.
    pub(crate) async fn kept_due(&self) {
        self.kept_due.notified().await;
    }

    /// Works on a claimed request until it is over, or is to be handed back.
    pub(crate) async fn work_kept(&self, kept: KeptRequest, hand_back: &CancellationToken) {
        let span = info_span!("kept_request", session_id = %kept.session, session_request_id = %kept.request);
        self.kept_steps(kept, hand_back).instrument(span).await;
    }

    async fn kept_steps(&self, mut kept: KeptRequest, hand_back: &CancellationToken) {
        loop {
            let step = tokio::select! {
                step = self.kept_step(&kept) => step,
                () = self.kept_lease_keep(&kept) => Step::Lost,
                () = hand_back.cancelled() => Step::HandBack(Duration::ZERO),
            };
            match step {
                Step::Next(next) if next.is_due() => kept = *next,
                Step::Next(_) | Step::Over => return,
                Step::Lost => {
                    warn!("the request was taken over by another worker");
                    return;
                }
                Step::HandBack(rest) => {
                    let until = self.core.now() + rest;
                    let change = KeptLeaseChange { session: kept.session, lease: kept.lease, until };
                    match self.core.committer.commit(change).await {
                        Ok(()) => info!(wait_ms = millis(rest), "request handed back"),
                        Err(failure) => {
                            warn!(
                                error = chain(&failure),
                                "the request could not be handed back; its lease runs out"
                            );
                        }
                    }
                    return;
                }
            }
        }
    }

    async fn kept_step(&self, kept: &KeptRequest) -> Step {
        match &kept.state {
            KeptState::Held { until } => self.kept_execute(kept, *until).await,
            // Neither is ever given up: the wallet's record says how it ends.
            KeptState::Settling { .. } => self.kept_settle(kept).await,
            KeptState::Cancelling => {
                let cancelled = self.payments.cancel_held(kept.invoice).await;
                if matches!(cancelled, Ok(HoldOutcome::Credited)) {
                    warn!(payment_hash = %kept.invoice, "a payment was received that was to be given back; it can be used, or claimed");
                }
                self.kept_outcome(kept, cancelled).await
            }
            KeptState::Offered | KeptState::Ended => Step::Over,
        }
    }

    /// Renews the lease for as long as it is ours; returns when it no longer is.
    async fn kept_lease_keep(&self, kept: &KeptRequest) {
        let lease = self.core.settings.lease;
        loop {
            sleep(lease / 3).await;
            let until = self.core.now() + lease;
            let change = KeptLeaseChange { session: kept.session, lease: kept.lease, until };
            match self.core.committer.commit(change).await {
                Ok(()) => {}
                Err(CommitError::Refused(_)) => return,
                Err(failure) => warn!(error = chain(&failure), "the lease could not be renewed"),
            }
        }
    }

    /// Does the request. Whatever comes of it is committed before the wallet hears of it.
    async fn kept_execute(&self, kept: &KeptRequest, until: Timestamp) -> Step {
        let (session, lease) = (kept.session, kept.lease);
        match self.kept_run(kept, until).await {
            Ok(DoneRequest { worked, answer }) => {
                let finish = KeptFinish { session, lease, answer: Some(answer) };
                let step = self.kept_commit(finish, kept).await;
                if matches!(step, Step::Next(_)) {
                    worked.paid(&self.quotes, kept.request.0).await;
                    info!("request done; its payment is taken");
                } else {
                    worked.unpaid(&self.quotes, kept.request.0).await;
                }
                step
            }
            Err(NotDone::Later(rest)) => Step::HandBack(rest),
            Err(NotDone::Failed(why)) => {
                warn!(error = why, "the request failed; its payment is given back");
                self.kept_commit(KeptFinish { session, lease, answer: None }, kept).await
            }
        }
    }

    async fn kept_run(&self, kept: &KeptRequest, until: Timestamp) -> Result<DoneRequest, NotDone> {
        let failed = |why: &str| NotDone::Failed(why.to_owned());
        let Prepared { running, render, tier } = self.kept_prepare(kept, until).await?;
        let slot = self.slots.take_for(&running.prompt).await;
        // A server that is too busy now will not be less so within seconds.
        let _slot = slot.map_err(|busy| NotDone::Failed(chain(&busy)))?;
        let left = self.kept_left(until)?.min(WORK_WINDOW);
        let over = Instant::now() + left;
        // What has not ended by itself a moment later is dropped, and booked.
        let worked = match timeout(left + COMMIT_RETRY_INTERVAL, self.work(&running, left)).await {
            Ok(Ok(worked)) => worked,
            Ok(Err(failure)) => return Err(NotDone::Failed(failure.cause())),
            Err(_elapsed) => return Err(failed("it took too long")),
        };
        let outcome = outcome(&worked);
        // The time is ours, not the customer's: a payment is not taken for a part.
        let is_cut = Instant::now() >= over && is_part(&outcome);
        let answer = answer_of(kept.request, &running, outcome, tier, render.as_ref());
        let Some(answer) = answer.filter(|_| !is_cut) else {
            worked.unpaid(&self.quotes, kept.request.0).await;
            return Err(failed("it has no answer, or a part of one"));
        };
        Ok(DoneRequest { worked, answer })
    }

    /// How long the work may still take, if that is worth beginning.
    fn kept_left(&self, until: Timestamp) -> Result<Duration, NotDone> {
        let left = until.since(self.core.now());
        if left < LEFT_MIN { Err(NotDone::Failed("too little time is left".to_owned())) } else { Ok(left) }
    }

    /// Reads a kept request, and prices it as it was offered.
    async fn kept_prepare(&self, kept: &KeptRequest, until: Timestamp) -> Result<Prepared, NotDone> {
        let failed = |why: &str| NotDone::Failed(why.to_owned());
        let stored = self.core.ports.store.session(kept.session).await.map_err(EngineError::from)?;
        let session = stored.ok_or_else(|| failed("its session does not exist"))?;
        let one = session.kind.one_request().ok_or_else(|| failed("its session pays for other requests"))?;
        if one.terms.call.is_some() && kept.lease.claims > 1 {
            // Whoever worked on it before may have made the call: it is not made again.
            return Err(failed("the call of the mounted route may have been made"));
        }
        self.kept_left(until)?;
        let tier = self.identities.tier_of(session.identity).await?;
        let reader = self.sent_reader.get().ok_or(NotDone::Later(READ_REST))?;
        let read = kept.sent.as_deref().and_then(|sent| reader.read(sent));
        let ReadRequest { prompt, render } = read.ok_or_else(|| failed("the kept request cannot be read"))?;
        let (QuotedWork { model, tokenizer, quotes, .. }, covered) =
            self.quote_paid(&session, one, None, &prompt)?;
        if model != one.terms.model {
            return Err(failed("another route answers the kept request"));
        }
        let price = session.deposit.to_msats();
        // What a run has used that nobody pays for is booked by its own id.
        let is_first = kept.lease.claims <= 1;
        let id = if is_first { kept.request } else { RequestId(self.core.new_id()) };
        let request = SessionRequest {
            id,
            session: session.id,
            model,
            limit: price,
            keys: Vec::new(),
            state: RequestState::Running,
            created_at: kept.created_at,
            updated_at: self.core.now(),
            text_deleted_at: None,
        };
        let running = Running {
            request,
            keys: Vec::new(),
            session,
            prompt,
            cover: Arc::new(quotes.cover(covered, None, tokenizer)),
            quotes,
            held: AtomicU64::new(price.get()),
            client: nobody(),
            key: None,
            replenish: None,
        };
        Ok(Prepared { running, render, tier })
    }

    /// Takes the payment of a request that is done. It is credited together with the charge.
    async fn kept_settle(&self, kept: &KeptRequest) -> Step {
        let stored = match self.core.ports.store.session(kept.session).await {
            Ok(stored) => stored,
            Err(failure) => {
                warn!(error = chain(&failure), "the held payment is looked at again later");
                return Step::HandBack(HOLD_REST);
            }
        };
        let Some(session) = stored else { return Step::HandBack(HOLD_REST) };
        let id = OfferedSession::hold_invoice_of(&session).id();
        let settled = self.payments.settle_held(id, kept.invoice).await;
        if matches!(settled, Ok(HoldOutcome::Gone)) {
            warn!(payment_hash = %kept.invoice, "the payment of finished work had gone back");
        }
        self.kept_outcome(kept, settled).await
    }

    async fn kept_outcome(&self, kept: &KeptRequest, outcome: Result<HoldOutcome, EngineError>) -> Step {
        match outcome {
            Ok(HoldOutcome::Open) => Step::HandBack(HOLD_REST),
            // After a credit it has ended already, unless a server has made it that knows nothing of kept requests.
            Ok(HoldOutcome::Credited | HoldOutcome::Gone) => {
                let held = HeldDeposit::of(kept, self.core.settings.idempotency_keep);
                let (session, invoice, lease) = (kept.session, kept.invoice, kept.lease);
                let end = KeptEnd { session, invoice, held, lease };
                self.kept_end(end).await
            }
            Err(failure) => {
                warn!(error = chain(&failure), "the held payment is looked at again later");
                Step::HandBack(HOLD_REST)
            }
        }
    }

    async fn kept_end(&self, end: KeptEnd) -> Step {
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
                Step::HandBack(HOLD_REST)
            }
        }
    }

    /// Commits what becomes of the payment. A database that is unavailable for a while costs no finished work: the commit is tried again
    /// until another worker has the request.
    async fn kept_commit(&self, finish: KeptFinish, kept: &KeptRequest) -> Step {
        let wants_answer = finish.answer.is_some();
        let mut failures = 0;
        loop {
            match self.core.committer.commit(finish.clone()).await {
                Ok(next) => return Step::Next(next),
                Err(CommitError::Refused(refusal)) => {
                    match self.core.ports.store.kept_request(kept.session).await {
                        // An earlier try was committed although its outcome was not known.
                        Ok(Some(next))
                            if next.lease.is_held_as(&kept.lease)
                                && matches!(next.state, KeptState::Settling { .. }) == wants_answer
                                && next.is_due()
                                && !matches!(next.state, KeptState::Held { .. }) =>
                        {
                            return Step::Next(Box::new(next));
                        }
                        Ok(_) => {
                            warn!(%refusal, "the result of the request was refused");
                            return Step::Lost;
                        }
                        Err(failure) => warn!(error = chain(&failure), "the kept request cannot be read yet"),
                    }
                }
                Err(CommitError::Failed) if failures >= COMMIT_FAILURES_MAX => {
                    warn!(attempt = failures, "the result of the request cannot be committed");
                    return Step::Lost;
                }
                Err(failure) => {
                    failures += u32::from(matches!(failure, CommitError::Failed));
                    warn!(error = chain(&failure), "the result of the request is not committed yet");
                }
            }
            sleep(COMMIT_RETRY_INTERVAL).await;
        }
    }
}

/// Whether the answer has no end of its own.
const fn is_part(outcome: &RequestOutcome) -> bool {
    matches!(
        outcome,
        RequestOutcome::Completed { result, .. }
            if matches!(result.finish, FinishReason::Length | FinishReason::Interrupted)
    )
}

/// Nobody waits for the answer: it is stored for the proof.
fn nobody() -> Client {
    let (begun, gone) = (CancellationToken::new(), CancellationToken::new());
    Client { listener: None, begun, gone, sent: Arc::default(), backend: Arc::default() }
}
