//! Doing a kept request, and taking its payment or giving it back.

use super::super::quoted_work::QuotedWork;
use super::super::request::{COMMIT_RETRY_INTERVAL, Running, outcome};
use super::super::request_finish::RenderRequest;
use super::super::service::Sessions;
use super::WORK_WINDOW;
use super::answer::answer_of;
use super::claim::{KeptClaim, KeptLeaseChange};
use super::finish::KeptFinish;
use super::read::ReadRequest;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::log::millis;
use crate::metered::{Client, Worked};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_sessions::{KeptAnswer, KeptRequest, KeptState, RequestId, RequestState, SessionRequest};
use tithe_trust::Tier;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

/// With less than this left, work is not begun.
const LEFT_MIN: Duration = Duration::from_secs(10);

/// How long a request waits for its turn at a backend.
const SLOT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request rests that could not be read.
const READ_REST: Duration = Duration::from_secs(1);

/// Why a request was not done for which there was too little time.
const TOO_LONG: &str = "it took too long";

/// How often the database may refuse a result itself.
const COMMIT_FAILURES_MAX: u32 = 10;

/// How many kept requests are claimed at once.
const CLAIMED_AT_ONCE: usize = 64;

/// What a worker does next with a kept request.
pub(super) enum Step {
    /// The next step, with the request as it is now.
    Next(Box<KeptRequest>),
    /// Nothing: it is over.
    Over,
    /// Nothing: it is another worker's now.
    Lost,
    /// It is given back as it is, and rests for this long.
    HandBack(Duration),
}

/// Why a request could not be read.
enum NotRead {
    /// It can be read a moment later.
    Yet,
    /// It cannot be done, for this reason.
    Never(String),
}

impl From<EngineError> for NotRead {
    fn from(failure: EngineError) -> Self {
        match failure {
            EngineError::Busy => Self::Yet,
            failure => Self::Never(chain(&failure)),
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
            KeptState::Cancelling => self.kept_cancel(kept).await,
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
                let finish = KeptFinish { session, lease, answer: Some(answer.clone()) };
                let step = self.kept_commit(finish, kept).await;
                if matches!(step, Step::Next(_)) || self.kept_was_taken(kept, &answer).await {
                    worked.paid(&self.quotes, kept.request.0).await;
                    info!("request done; its payment is taken");
                } else {
                    worked.unpaid(&self.quotes, kept.request.0).await;
                }
                step
            }
            Err(why) => {
                warn!(error = why, "the request failed; its payment is given back");
                self.kept_commit(KeptFinish { session, lease, answer: None }, kept).await
            }
        }
    }

    /// Whether this answer is the one that is paid for, although another worker has the request by now: its commit was in doubt, and had happened.
    async fn kept_was_taken(&self, kept: &KeptRequest, answer: &KeptAnswer) -> bool {
        let store = &self.core.ports.store;
        let Ok(Some(now)) = store.kept_request(kept.session).await else { return false };
        match &now.state {
            KeptState::Settling { answer: settling } => **settling == *answer,
            KeptState::Ended => {
                let charged = store.session_request(kept.request).await;
                matches!(charged, Ok(Some(charged)) if is_same_answer(&charged.state, &answer.state))
            }
            KeptState::Offered | KeptState::Held { .. } | KeptState::Cancelling => false,
        }
    }

    async fn kept_run(&self, kept: &KeptRequest, until: Timestamp) -> Result<DoneRequest, String> {
        let Prepared { running, render, tier } = self.kept_prepare(kept, until).await?;
        // A server that is too busy now will not be less so within seconds.
        let slot = match timeout(SLOT_PATIENCE, self.slots.take_for(&running.prompt)).await {
            Ok(slot) => slot.map_err(|busy| chain(&busy)),
            Err(_elapsed) => Err("no backend was free in time".to_owned()),
        };
        let _slot = slot.inspect_err(|_| self.slow_models.too_slow(&running.request.model))?;
        let left = self.kept_left(until)?.min(WORK_WINDOW).min(self.core.settings.work_timeout);
        let deadline = Instant::now() + left;
        // What has not ended by itself a moment later is dropped, and booked.
        let worked = timeout(left + COMMIT_RETRY_INTERVAL, self.work(&running, left)).await;
        let is_late = deadline <= Instant::now();
        if is_late {
            self.slow_models.too_slow(&running.request.model);
        }
        let worked = worked.map_err(|_elapsed| TOO_LONG)?.map_err(|failure| failure.cause())?;
        // Prepaid, it would have had more time: what was written until now is no answer to take money for.
        let is_cut = is_late && worked.ends_at_length();
        let answer = answer_of(kept.request, &running, outcome(&worked), tier, render.as_ref());
        let Some(answer) = answer.filter(|_| !is_cut) else {
            worked.unpaid(&self.quotes, kept.request.0).await;
            return Err(if is_cut { TOO_LONG } else { "it has no answer" }.to_owned());
        };
        Ok(DoneRequest { worked, answer })
    }

    /// How long the work may still take, if that is worth beginning.
    fn kept_left(&self, until: Timestamp) -> Result<Duration, &'static str> {
        let left = until.since(self.core.now());
        if left < LEFT_MIN { Err("too little time is left") } else { Ok(left) }
    }

    /// Prepares a kept request. What cannot be read now is read again, while there is time: a request that is given back and claimed once more counts
    /// as begun.
    async fn kept_prepare(&self, kept: &KeptRequest, until: Timestamp) -> Result<Prepared, String> {
        loop {
            self.kept_left(until)?;
            match self.kept_read(kept).await {
                Err(NotRead::Yet) => sleep(READ_REST).await,
                Err(NotRead::Never(why)) => return Err(why),
                Ok(prepared) => return Ok(prepared),
            }
        }
    }

    /// Reads a kept request, and prices it as it was offered.
    async fn kept_read(&self, kept: &KeptRequest) -> Result<Prepared, NotRead> {
        let failed = |why: &str| NotRead::Never(why.to_owned());
        let stored = self.core.ports.store.session(kept.session).await.map_err(EngineError::from)?;
        let session = stored.ok_or_else(|| failed("its session does not exist"))?;
        let one = session.kind.one_request().ok_or_else(|| failed("its session pays for other requests"))?;
        if one.terms.call.is_some() && kept.lease.claims > 1 {
            // Whoever worked on it before may have made the call: it is not made again.
            return Err(failed("the call of the mounted route may have been made"));
        }
        let tier = self.identities.tier_of(session.identity).await?;
        let reader = self.sent_reader.get().ok_or(NotRead::Yet)?;
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
            // A failure costs this customer nothing at all, not even a claim.
            needs_text: false,
            key: None,
            replenish: None,
        };
        Ok(Prepared { running, render, tier })
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

/// Whether two requests have ended with the same answer, or the same refusal. What is charged may differ.
fn is_same_answer(one: &RequestState, other: &RequestState) -> bool {
    match (one, other) {
        (RequestState::Complete { result: one, .. }, RequestState::Complete { result: other, .. }) => {
            one == other
        }
        (RequestState::Rejected { reason: one, .. }, RequestState::Rejected { reason: other, .. }) => {
            one == other
        }
        _ => false,
    }
}

/// Nobody waits for the answer: it is stored for the proof.
fn nobody() -> Client {
    let (begun, gone) = (CancellationToken::new(), CancellationToken::new());
    Client { listener: None, begun, gone, sent: Arc::default(), backend: Arc::default() }
}
