//! Doing a request of a session: hold, evaluate, work, settle.

use super::deposits::Replenish;
use super::keys::SessionAccess;
use super::quoted_work::QuotedWork;
use super::request_begin::{SessionRequestBegin, SessionRequestBegun};
use super::request_finish::{FinishedRequest, RenderRequest, RequestOutcome, SessionRequestFinish};
use super::service::Sessions;
use super::steps::account_of;
use crate::books::Refusal;
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::idempotency::{Attached, KeyedResponse};
use crate::inference::{Cover, OUTPUT_STEP};
use crate::metered::{Client, Delivered, Done, Failure, MeteredQuotes, MeteredRequest, Prompt, Worked};
use crate::records::{IdempotencyId, IdempotencyRequest, KeyOrigin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tithe_ledger::LedgerError;
use tithe_money::Msats;
use tithe_paywall::{LimitReached, UsageError};
use tithe_sessions::{
    PresentedKey, RequestId, RequestResult, RequestState, Session, SessionError, SessionId, SessionRequest,
    StateName,
};
use tokio::time::Instant;
use tracing::{Instrument, info, info_span, warn};
use uuid::Uuid;

/// The least output to which an answer is shortened because the balance allows no more, in tokens.
const SHORTENED_OUTPUT_MIN: u64 = 256;

/// How often a request is begun anew because the balance has changed meanwhile.
const BEGIN_TRIES_MAX: u32 = 3;

/// How long a finished request waits before it tries again to commit its result.
pub(super) const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// A request to be done and charged to a session.
pub struct NewWork {
    /// The id of the request; `None` lets the engine choose one.
    pub id: Option<Uuid>,
    /// What the caller's macaroon allows.
    pub access: SessionAccess,
    /// What is asked of the model.
    pub prompt: Prompt,
    /// The model; `None` means the operator's choice.
    pub model: Option<String>,
    /// The most output wanted, in tokens. Without it, the answer is as long as the balance allows.
    pub max_output_tokens: Option<u64>,
    /// Who waits for the answer.
    pub client: Client,
    /// Is asked for more when the balance is used up before the answer is; without it, the answer ends there.
    pub replenish: Option<Arc<dyn Replenish>>,
}

/// A request that has begun.
pub(super) struct Running {
    /// The request, as it began.
    pub(super) request: SessionRequest,
    /// The keys of the macaroon that it was made with, oldest first.
    pub(super) keys: Vec<PresentedKey>,
    /// The session, as the request began.
    pub(super) session: Session,
    /// What is asked of the model.
    pub(super) prompt: Prompt,
    /// The prices.
    pub(super) quotes: MeteredQuotes,
    /// How much of the answer is paid for.
    pub(super) cover: Arc<Cover>,
    /// What is held for it, in msats, as far as is known.
    pub(super) held: AtomicU64,
    /// Who waits for the answer.
    pub(super) client: Client,
    /// Whether an answer without a text for the customer costs them nothing.
    pub(super) needs_text: bool,
    /// The idempotency key.
    pub(super) key: Option<IdempotencyId>,
    /// Is asked for more when the balance is used up.
    pub(super) replenish: Option<Arc<dyn Replenish>>,
}

impl Sessions {
    /// Does a request and charges it to the session. The response says what it cost; a request that the evaluation rejects has a
    /// response too.
    ///
    /// # Errors
    /// [`EngineError::InsufficientBalance`], [`EngineError::KeyLimit`], [`EngineError::SessionState`], and those of the request
    /// itself: nothing was held or charged. [`EngineError::WorkFailed`]: nothing was charged.
    pub async fn request(
        &self,
        new: NewWork,
        idempotency: Option<IdempotencyRequest>,
        render: Arc<dyn RenderRequest>,
    ) -> Result<KeyedResponse, EngineError> {
        self.check_revoked(&new.access).await?;
        let idempotency = match self.idempotency.attach(idempotency).await? {
            Attached::Begin(idempotency) => idempotency,
            Attached::Answered(response) => return Ok(KeyedResponse::replay(response)),
        };
        let _slot = self.slots.take_for(&new.prompt).await?;
        let is_derived = idempotency.as_ref().is_some_and(|request| request.origin != KeyOrigin::Client);
        let running = match self.begin(new, idempotency).await? {
            Begun::Running(running) => running,
            Begun::Replayed(response) => return Ok(response),
        };
        self.run(&running, is_derived, render).await
    }

    /// Does a request that has begun, and commits its end. `is_derived` says that its idempotency key is not the client's own.
    pub(super) async fn run(
        &self,
        running: &Running,
        is_derived: bool,
        render: Arc<dyn RenderRequest>,
    ) -> Result<KeyedResponse, EngineError> {
        let key = running.key.clone();
        let span = info_span!(
            "session_request",
            session_id = %running.request.session,
            session_request_id = %running.request.id
        );
        let finish = key.clone().map(|key| (key, Arc::clone(&render)));
        let done = async {
            let worked = tokio::select! {
                worked = self.work(running, self.core.settings.work_timeout) => worked,
                () = self.keep(running) => {
                    warn!("the hold of the request was lost");
                    return Err(EngineError::WorkFailed);
                }
            };
            // A client that tries again by itself did not get the answer, and half of one is no answer; nor is nothing at all.
            let is_none = |worked: &Worked| worked.is_abandoned() && (is_derived || worked.is_nothing());
            let is_answer = !worked.as_ref().is_ok_and(is_none);
            let finished = self.finish(running, worked, finish.filter(|_| is_answer)).await?;
            Ok((KeyedResponse::new(render.render(&finished)), is_answer))
        };
        let done = done.instrument(span).await;
        if let (Err(_) | Ok((_, false)), Some(key)) = (&done, key) {
            // A retry may begin at once.
            self.idempotency.release_of(key, Some(running.request.id.0)).await;
        }
        done.map(|(response, _)| response)
    }

    /// Holds the most that the request can cost; of an answer that may be as long as the balance allows, the prompt and a first step.
    async fn begin(
        &self,
        new: NewWork,
        mut idempotency: Option<IdempotencyRequest>,
    ) -> Result<Begun, EngineError> {
        let NewWork { id, access, prompt, model, max_output_tokens, client, replenish } = new;
        let terms = self.quotes.terms().await?;
        let models = access.models.as_ref();
        let QuotedWork { model, tokenizer, is_countable, quotes } =
            self.quotes_of(models, &prompt, model.as_deref(), max_output_tokens, &terms)?;
        let once = prompt.as_call().is_some();
        // Clients of the AI API say the most that they can use, not what they want.
        let fixed_output = max_output_tokens.filter(|_| prompt.as_text().is_some());
        // What cannot be counted while it is generated cannot be shared with other requests, either.
        let grows = fixed_output.is_none() && is_countable;
        let most = quotes.work.tokens.max_output;
        let mut output = if grows { most.min(OUTPUT_STEP) } else { most };
        let (id, now) = (RequestId(id.unwrap_or_else(|| self.core.new_id())), self.core.now());
        let mut refused = EngineError::Busy;
        for _try in 0..BEGIN_TRIES_MAX {
            let limit = quotes.limit_of(output)?;
            let request = SessionRequest {
                id,
                session: access.session,
                model: model.clone(),
                limit,
                keys: Vec::new(),
                state: RequestState::Running,
                created_at: now,
                updated_at: now,
                text_deleted_at: None,
            };
            let begin = SessionRequestBegin {
                request: Box::new(request.clone()),
                keys: access.keys.clone(),
                lease: self.core.settings.lease,
                idempotency: idempotency.clone(),
                digest: None,
                once,
            };
            match self.core.committer.commit(begin).await {
                Ok(SessionRequestBegun::New { session, left }) => {
                    info!(
                        session_id = %session.id,
                        session_request_id = %id,
                        model,
                        held_msats = limit.get(),
                        "request begun"
                    );
                    let keys = access.keys.iter().map(|key| key.id).collect();
                    let key = idempotency.map(|request| request.id);
                    client.begun.cancel();
                    let request = SessionRequest { keys, ..request };
                    // With top-ups, the answer may become as long as it was quoted.
                    let left = if replenish.is_some() { Msats::MAX } else { left };
                    let cover = quotes.cover(limit, grows.then_some(left), tokenizer);
                    let (cover, keys, held) = (Arc::new(cover), access.keys, AtomicU64::new(limit.get()));
                    let running = Running {
                        request,
                        keys,
                        session: *session,
                        needs_text: prompt.as_text().is_some(),
                        prompt,
                        quotes,
                        cover,
                        held,
                        client,
                        key,
                        replenish,
                    };
                    return Ok(Begun::Running(Box::new(running)));
                }
                Ok(SessionRequestBegun::Replayed(response)) => {
                    return Ok(Begun::Replayed(KeyedResponse::replay(response)));
                }
                Err(CommitError::Refused(Refusal::Ledger(LedgerError::Insufficient {
                    available, ..
                }))) => {
                    refused = EngineError::InsufficientBalance { required: limit, available };
                    let Some(shorter) = shortened(&quotes, output, fixed_output, available) else {
                        return Err(refused);
                    };
                    output = shorter;
                }
                Err(CommitError::Refused(Refusal::KeyUsage(UsageError::Limit(reached)))) => {
                    let left = left_of(&reached);
                    refused = EngineError::KeyLimit(reached);
                    let Some(shorter) = shortened(&quotes, output, fixed_output, left) else {
                        return Err(refused);
                    };
                    output = shorter;
                }
                Err(CommitError::Refused(Refusal::Session(state))) => {
                    self.check_paid(access.session, state).await?;
                    refused = EngineError::SessionState(state);
                }
                // The same first try has begun a moment ago: this is another one.
                Err(CommitError::Refused(Refusal::RequestInProgress))
                    if idempotency.as_ref().is_some_and(|key| key.origin == KeyOrigin::FirstTry) =>
                {
                    idempotency = None;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        // Other requests of the session have what this one needs.
        Err(refused)
    }

    /// Whether a session that was refused for its state is active after all: if its deposit was not paid as far as was known, the wallet is
    /// asked, because the customer may have paid a moment ago.
    async fn check_paid(&self, id: SessionId, refused: SessionError) -> Result<(), EngineError> {
        if refused != SessionError::NotActive(StateName::AwaitingPayment) {
            return Err(EngineError::SessionState(refused));
        }
        self.view(id).await?.session.check_active().map_err(EngineError::SessionState)
    }

    /// Evaluates the request and does the work, for so long at most.
    pub(super) async fn work(&self, running: &Running, patience: Duration) -> Result<Worked, Failure> {
        let began = Instant::now();
        let worked = self.work_within(running, patience).await;
        if running.session.kind.one_request().is_some() {
            self.slow_models.measured(&running.request.model, began.elapsed());
        }
        worked
    }

    async fn work_within(&self, running: &Running, patience: Duration) -> Result<Worked, Failure> {
        // A call has no targets.
        let targets = match running.prompt.as_call() {
            Some(_) => Ok(Vec::new()),
            None => self.quotes.targets(&running.quotes.work.model, running.prompt.as_chat()),
        };
        let request = MeteredRequest {
            id: running.request.id.0,
            prompt: &running.prompt,
            quotes: &running.quotes,
            // They were found when the request began.
            targets: &targets.unwrap_or_default(),
            health: Some(&self.backend),
            patience,
            client: &running.client,
            needs_text: running.needs_text,
            cover: Some(Arc::clone(&running.cover)),
            when_client_leaves: self.core.settings.when_client_leaves,
        };
        request.run(&self.quotes).await
    }

    /// Commits the end of a request. What has no answer is charged nothing.
    async fn finish(
        &self,
        running: &Running,
        worked: Result<Worked, Failure>,
        finish: Option<(IdempotencyId, Arc<dyn RenderRequest>)>,
    ) -> Result<FinishedRequest, EngineError> {
        let outcome = match &worked {
            Ok(worked) => outcome(worked),
            Err(failure) => {
                warn!(error = failure.cause(), "the request failed");
                let message = failure.message();
                if failure.is_lost() {
                    RequestOutcome::Lost { message }
                } else {
                    RequestOutcome::Failed { message }
                }
            }
        };
        if let Ok(worked) = &worked {
            self.cover_cost(running, worked.cost).await;
        }
        let Running { request, session, prompt, .. } = running;
        let command = SessionRequestFinish {
            request: request.id,
            session: session.id,
            identity: session.identity,
            keys: request.keys.clone(),
            request_hash: prompt.hash(),
            btc_price: running.quotes.work.terms.btc.price,
            outcome,
            finish,
            once: prompt.as_call().is_some(),
        };
        let committed = loop {
            match self.core.committer.commit(command.clone()).await {
                Ok(finished) => break Ok(*finished),
                Err(CommitError::Refused(refusal)) => {
                    // An earlier try may have been committed although its outcome was not known.
                    match self.finished_before(&command, session).await {
                        Ok(Some(finished)) => break Ok(finished),
                        Ok(None) => {
                            warn!(%refusal, "the result of the request was refused");
                            break Err(EngineError::WorkFailed);
                        }
                        Err(failure) => {
                            warn!(error = chain(&failure), "the end of the request cannot be read yet");
                            tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                        }
                    }
                }
                Err(CommitError::Failed) => break Err(EngineError::Internal),
                // The hold's lease bounds the wait: without a renewal, another server ends the request.
                Err(failure) => {
                    warn!(error = chain(&failure), "the result of the request is not committed yet");
                    tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        };
        match (committed, worked) {
            // Another request has begun under its key since.
            (Ok(finished), Ok(worked)) if finished.request.cost().is_none() => {
                worked.unpaid(&self.quotes, request.id.0).await;
                Err(EngineError::WorkFailed)
            }
            (Ok(finished), Ok(worked)) => {
                worked.paid(&self.quotes, request.id.0).await;
                info!(state = %finished.request.state_name(), "request finished");
                Ok(finished)
            }
            (Ok(finished), Err(failure)) => {
                info!(state = %finished.request.state_name(), "request finished");
                Err(failure.error())
            }
            (Err(failure), worked) => {
                if let Ok(worked) = worked {
                    worked.unpaid(&self.quotes, request.id.0).await;
                }
                Err(failure)
            }
        }
    }

    /// The request as it is stored, if its end was committed and it was charged.
    async fn finished_before(
        &self,
        command: &SessionRequestFinish,
        session: &Session,
    ) -> Result<Option<FinishedRequest>, EngineError> {
        let store = &self.core.ports.store;
        let request =
            store.session_request(command.request).await?.filter(|request| request.cost().is_some());
        let Some(request) = request else { return Ok(None) };
        let account = store.account(account_of(session.id)).await?;
        let Some(account) = account else { return Ok(None) };
        let end = store.session(session.id).await?.and_then(|session| session.end());
        let tier = self.identities.tier_of(session.identity).await?;
        let answer = match &command.outcome {
            RequestOutcome::Completed { answer, .. } => Some(answer.clone()),
            _ => None,
        };
        let (balance, held) = (account.balance(), account.held());
        Ok(Some(FinishedRequest { request, answer, balance, held, end, tier }))
    }
}

/// How a request begins.
enum Begun {
    Running(Box<Running>),
    Replayed(KeyedResponse),
}

/// How a request ends that the models have answered.
pub(super) fn outcome(worked: &Worked) -> RequestOutcome {
    let cost = worked.cost;
    let completed = |answer: Delivered| {
        let Delivered { usage, estimated, finish, ref backend, .. } = answer;
        let backend = backend.clone();
        let result = RequestResult { text: Arc::clone(&answer.text), usage, estimated, finish, backend };
        RequestOutcome::Completed { result, answer, cost }
    };
    match worked.done.clone() {
        Done::Completed(answer) => completed(answer),
        Done::NotAsked => completed(Delivered::nothing()),
        Done::Rejected(reason) => RequestOutcome::Rejected { reason, cost },
        Done::Unreadable(reason) => RequestOutcome::Unreadable { reason, cost },
    }
}

/// What a key may still spend after it has reached this limit.
const fn left_of(reached: &LimitReached) -> Msats {
    match reached {
        LimitReached::Spend { left, .. } => *left,
        _ => Msats::ZERO,
    }
}

/// A shorter output than `output` that `available` pays for, in tokens, unless the customer has said how much is wanted; `None` if that
/// is too little to be of use.
fn shortened(quotes: &MeteredQuotes, output: u64, wanted: Option<u64>, available: Msats) -> Option<u64> {
    let shorter = quotes.output_within(available);
    (wanted.is_none() && (SHORTENED_OUTPUT_MIN..output).contains(&shorter)).then_some(shorter)
}
