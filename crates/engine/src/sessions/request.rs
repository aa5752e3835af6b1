//! Doing a request of a session: hold, evaluate, work, settle.

use super::keys::SessionAccess;
use super::request_begin::{SessionRequestBegin, SessionRequestBegun};
use super::request_finish::{FinishedRequest, RenderRequest, RequestOutcome, SessionRequestFinish};
use super::request_renew::SessionRequestRenew;
use super::service::Sessions;
use super::steps::account_of;
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::error_chain::chain;
use crate::idempotency::KeyedResponse;
use crate::inference::{self, ChatRequest, InferenceError, Message, Role};
use crate::quotes::evaluation::{Judgement, UNREADABLE};
use crate::quotes::{Evaluated, Quotes, UnpaidRun};
use crate::records::{IdempotencyId, IdempotencyRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tithe_free_tier::RequestHash;
use tithe_ledger::LedgerError;
use tithe_money::Msats;
use tithe_paywall::{LimitReached, UsageError};
use tithe_pricing::{FinishReason, Priced, Quote, Usage};
use tithe_sessions::{RequestId, RequestResult, RequestState, Session, SessionRequest};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

/// The least output to which an answer is shortened because the balance allows no more, in tokens.
const SHORTENED_OUTPUT_MIN: u64 = 256;

/// How often a request is begun anew because the balance has changed meanwhile.
const BEGIN_TRIES_MAX: u32 = 3;

/// How long a finished request waits before it tries again to commit its result.
const COMMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Receives the text of an answer as it is generated.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// A request to be done and charged to a session.
pub struct NewWork {
    /// What the caller's macaroon allows.
    pub access: SessionAccess,
    /// The customer's request.
    pub request: String,
    /// The model; `None` means the operator's choice.
    pub model: Option<String>,
    /// The most output wanted, in tokens. Without it, the answer is as long as the balance allows.
    pub max_output_tokens: Option<u64>,
    /// Receives the text as it is generated.
    pub listener: Option<Listener>,
    /// Cancelled when the client of a stream has gone: what was delivered is charged.
    pub gone: CancellationToken,
    /// How many bytes of the text were sent to the client of a stream.
    pub sent: Arc<AtomicUsize>,
}

/// A request that has begun.
struct Running {
    request: SessionRequest,
    session: Session,
    text: String,
    evaluation: Option<Quote>,
    work: Quote,
    listener: Option<Listener>,
    gone: CancellationToken,
    sent: Arc<AtomicUsize>,
    key: Option<IdempotencyId>,
}

/// What the models have done for a request. Its runs are booked as losses unless the result is committed.
struct Worked {
    outcome: RequestOutcome,
    runs: Vec<(UnpaidRun, Usage)>,
    /// What a customer who has gone did not get, and nobody pays for.
    lost: Msats,
}

/// Why a request has no answer.
enum Failure {
    /// The backend, or its answer.
    Backend(InferenceError),
    /// The answer has no text.
    Empty,
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
        if let Some(request) = &idempotency
            && let Some(response) = self.idempotency.stored(request).await?
        {
            return Ok(KeyedResponse::replay(response));
        }
        let _slot = self.slots.take().await?;
        let key = idempotency.as_ref().map(|request| request.id.clone());
        let running = match self.begin(new, idempotency).await? {
            Begun::Running(running) => running,
            Begun::Replayed(response) => return Ok(response),
        };
        let span = info_span!("session_request", id = %running.request.id);
        let finish = key.clone().map(|key| (key, Arc::clone(&render)));
        let done = async {
            let worked = tokio::select! {
                worked = self.work(&running) => worked,
                () = self.keep(&running) => {
                    warn!("the hold of the request was lost");
                    return Err(EngineError::WorkFailed);
                }
            };
            let finished = self.finish(&running, worked, finish).await?;
            Ok(KeyedResponse::new(render.render(&finished)))
        };
        let done = done.instrument(span).await;
        if let (Err(_), Some(key)) = (&done, key) {
            // Nothing was charged: a retry may begin at once.
            self.idempotency.release_of(key, Some(running.request.id.0)).await;
        }
        done
    }

    /// Holds the most that the request can cost.
    async fn begin(
        &self,
        new: NewWork,
        idempotency: Option<IdempotencyRequest>,
    ) -> Result<Begun, EngineError> {
        let NewWork { access, request: text, model, max_output_tokens, listener, gone, sent } = new;
        let key = idempotency.as_ref().map(|request| request.id.clone());
        self.quotes.check_text(&text)?;
        let model = self.quotes.work_model(model.as_deref())?;
        if access.models.as_ref().is_some_and(|models| !models.contains(&model.name)) {
            return Err(EngineError::KeyModel { model: model.name.clone() });
        }
        let stored = self.core.ports.store.session(access.session).await?;
        let session = stored.ok_or_else(|| EngineError::not_found(rows::Sessions::NAME, &access.session))?;
        session.check_active().map_err(EngineError::SessionState)?;
        let evaluates = self.core.settings.session_evaluation;
        if evaluates {
            self.quotes.check_backend(&model.name)?;
        } else {
            self.quotes.check_work_backend(&model.name)?;
        }
        let terms = self.quotes.terms().await?;
        let evaluation = if evaluates { Some(self.quotes.evaluation(&text, &terms)?) } else { None };
        let mut work = Quotes::work(model, &text, max_output_tokens, &terms)?;
        let (id, now) = (RequestId(self.core.new_id()), self.core.now());
        for _try in 0..BEGIN_TRIES_MAX {
            let fee = evaluation.as_ref().map_or(Msats::ZERO, |quote| quote.max.msats);
            // Work that costs nothing has a hold too.
            let limit = fee.checked_add(work.max.msats)?.max(Msats::new(1)?);
            let request = SessionRequest {
                id,
                session: access.session,
                model: model.name.clone(),
                limit,
                keys: Vec::new(),
                state: RequestState::Running,
                created_at: now,
                updated_at: now,
            };
            let begin = SessionRequestBegin {
                request: Box::new(request.clone()),
                keys: access.keys.clone(),
                lease: self.core.settings.lease,
                idempotency: idempotency.clone(),
            };
            match self.core.committer.commit(begin).await {
                Ok(SessionRequestBegun::New) => {
                    info!(session = %session.id, request = %id, model = model.name, held = %limit, "request begun");
                    let keys = access.keys.iter().map(|key| key.id).collect();
                    let request = SessionRequest { keys, ..request };
                    let running =
                        Running { request, session, text, evaluation, work, listener, gone, sent, key };
                    return Ok(Begun::Running(Box::new(running)));
                }
                Ok(SessionRequestBegun::Replayed(response)) => {
                    return Ok(Begun::Replayed(KeyedResponse::replay(response)));
                }
                Err(CommitError::Refused(Refusal::Ledger(LedgerError::Insufficient {
                    available, ..
                }))) => {
                    let shorter = shortened(&work, max_output_tokens, available.saturating_sub(fee));
                    let Some(output) = shorter else {
                        return Err(EngineError::InsufficientBalance { required: limit, available });
                    };
                    work = Quotes::work(model, &text, Some(output), &terms)?;
                }
                Err(CommitError::Refused(Refusal::KeyUsage(UsageError::Limit(reached)))) => {
                    let left = match reached {
                        LimitReached::Spend { left, .. } => left,
                        _ => Msats::ZERO,
                    };
                    let shorter = shortened(&work, max_output_tokens, left.saturating_sub(fee));
                    let Some(output) = shorter else { return Err(EngineError::KeyLimit(reached)) };
                    work = Quotes::work(model, &text, Some(output), &terms)?;
                }
                Err(CommitError::Refused(Refusal::Session(refused))) => {
                    return Err(EngineError::SessionState(refused));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(EngineError::Busy)
    }

    /// Renews the hold, and the lease of the idempotency key, for as long as they are ours; returns when they no longer are.
    async fn keep(&self, running: &Running) {
        let lease = self.core.settings.lease;
        let key_lease = self.core.settings.idempotency_lease.max(lease);
        let renew = SessionRequestRenew {
            request: running.request.id,
            session: running.request.session,
            lease,
            key: running.key.clone().map(|key| (key, key_lease)),
        };
        loop {
            tokio::time::sleep(lease / 3).await;
            match self.core.committer.commit(renew.clone()).await {
                Err(CommitError::Refused(refusal)) => {
                    warn!(%refusal, "the hold has ended");
                    return;
                }
                Err(failure) => warn!(failure = chain(&failure), "the hold could not be renewed"),
                Ok(()) => {}
            }
        }
    }

    /// Evaluates the request and does the work.
    async fn work(&self, running: &Running) -> Result<Worked, Failure> {
        let mut runs = Vec::new();
        let mut cost = Msats::ZERO;
        if let Some(quote) = &running.evaluation {
            let Running { request, text, .. } = running;
            let evaluated = self.quotes.evaluate(quote, text, request.id.0, "evaluation").await;
            let Evaluated { judgement, run, usage } = evaluated.map_err(|failure| {
                self.backend.suspect(&quote.model, &failure);
                Failure::Backend(failure)
            })?;
            cost = quote.price_or_max(&usage).msats;
            runs.push((run, usage));
            let outcome = match judgement {
                Some(Judgement::Accept) => None,
                Some(Judgement::Reject(reason)) => Some(RequestOutcome::Rejected { reason, cost }),
                // The model has done its work: the evaluation is charged, and nobody is to blame.
                None => Some(RequestOutcome::Unreadable { reason: UNREADABLE.to_owned(), cost }),
            };
            if let Some(outcome) = outcome {
                return Ok(Worked { outcome, runs, lost: Msats::ZERO });
            }
        }
        if running.gone.is_cancelled() {
            // Nobody is there any more, and the backend was not asked: nothing but the evaluation was done.
            let (usage, finish) = (Usage::default(), FinishReason::Interrupted);
            let result = RequestResult { text: "".into(), usage, estimated: false, finish };
            let outcome = RequestOutcome::Completed { result, cost };
            return Ok(Worked { outcome, runs, lost: Msats::ZERO });
        }
        let quote = &running.work;
        let chat = ChatRequest {
            model: running.request.model.clone(),
            messages: vec![Message { role: Role::User, text: running.text.clone() }],
            max_output_tokens: quote.tokens.max_output,
            deterministic: false,
        };
        let run = UnpaidRun::new(&self.quotes, quote, chat, running.request.id.0, "work".to_owned());
        let ports = &self.core.ports;
        let patience = self.core.settings.work_timeout;
        let listen = |delta: &str| {
            if let Some(listener) = &running.listener {
                listener(delta);
            }
        };
        let (backend, catalogue) = (ports.inference.as_ref(), &ports.catalogue);
        let answering =
            inference::run(backend, catalogue, run.request(), patience, run.meter(), Some(&listen));
        let answer = tokio::select! {
            answered = answering => answered,
            () = running.gone.cancelled() => {
                let sent = running.sent.load(Ordering::Acquire);
                let (text, delivered, used) = run.meter().delivered(catalogue, run.request(), sent);
                let price = quote.price_or_max(&delivered).msats;
                let lost = quote.price_or_max(&used).msats.saturating_sub(price);
                let (usage, estimated, finish) = (delivered, true, FinishReason::Interrupted);
                let result = RequestResult { text: text.into(), usage, estimated, finish };
                runs.push((run, delivered));
                let cost = add(cost, price);
                return Ok(Worked { outcome: RequestOutcome::Completed { result, cost }, runs, lost });
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.backend.suspect(&running.request.model, &failure);
                run.failed(&failure).await;
                book_all(runs).await;
                return Err(Failure::Backend(failure));
            }
        };
        self.backend.answered(&running.request.model);
        let usage = answer.usage;
        if answer.text.trim().is_empty() {
            run.unpaid(&usage).await;
            book_all(runs).await;
            return Err(Failure::Empty);
        }
        cost = add(cost, quote.price_or_max(&usage).msats);
        runs.push((run, usage));
        let result = RequestResult {
            text: answer.text.into(),
            usage,
            estimated: answer.estimated,
            finish: answer.finish.into(),
        };
        Ok(Worked { outcome: RequestOutcome::Completed { result, cost }, runs, lost: Msats::ZERO })
    }

    /// Commits the end of a request. What has no answer is charged nothing.
    async fn finish(
        &self,
        running: &Running,
        worked: Result<Worked, Failure>,
        finish: Option<(IdempotencyId, Arc<dyn RenderRequest>)>,
    ) -> Result<FinishedRequest, EngineError> {
        let (outcome, runs, lost, failure) = match worked {
            Ok(Worked { outcome, runs, lost }) => (outcome, runs, lost, None),
            Err(failure) => {
                let message = failure.message();
                warn!(cause = failure.cause(), "the request failed");
                (RequestOutcome::Failed { message }, Vec::new(), Msats::ZERO, Some(failure))
            }
        };
        let Running { request, session, text, .. } = running;
        let command = SessionRequestFinish {
            request: request.id,
            session: session.id,
            identity: session.identity,
            keys: request.keys.clone(),
            request_hash: RequestHash::of(text),
            outcome,
            finish,
        };
        let committed = loop {
            match self.core.committer.commit(command.clone()).await {
                Ok(finished) => break Ok(*finished),
                Err(CommitError::Refused(refusal)) => {
                    // An earlier try may have been committed although its outcome was not known.
                    match self.finished_before(request.id, session).await {
                        Ok(Some(finished)) => break Ok(finished),
                        Ok(None) => {
                            warn!(%refusal, "the result of the request was refused");
                            break Err(EngineError::WorkFailed);
                        }
                        Err(failure) => {
                            warn!(failure = chain(&failure), "the end of the request cannot be read yet");
                            tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                        }
                    }
                }
                Err(CommitError::Failed) => break Err(EngineError::Internal),
                // The hold's lease bounds the wait: without a renewal, another server ends the request.
                Err(failure) => {
                    warn!(failure = chain(&failure), "the result of the request is not committed yet");
                    tokio::time::sleep(COMMIT_RETRY_INTERVAL).await;
                }
            }
        };
        match committed {
            // Another request has begun under its key since.
            Ok(finished) if failure.is_none() && finished.request.cost().is_none() => {
                book_all(runs).await;
                Err(EngineError::WorkFailed)
            }
            Ok(finished) => {
                for (run, _) in runs {
                    run.paid();
                }
                if !lost.is_zero() {
                    self.quotes.book_lost(lost, request.id.0).await;
                }
                info!(state = %finished.request.state_name(), "request finished");
                match failure {
                    Some(Failure::Backend(InferenceError::Refused(_))) => Err(EngineError::WorkRefused),
                    Some(_) => Err(EngineError::WorkFailed),
                    None => Ok(finished),
                }
            }
            Err(failure) => {
                book_all(runs).await;
                Err(failure)
            }
        }
    }

    /// The request as it is stored, if its end was committed and it was charged.
    async fn finished_before(
        &self,
        id: RequestId,
        session: &Session,
    ) -> Result<Option<FinishedRequest>, EngineError> {
        let store = &self.core.ports.store;
        let request = store.session_request(id).await?.filter(|request| request.cost().is_some());
        let Some(request) = request else { return Ok(None) };
        let account = store.account(account_of(session.id)).await?;
        let Some(account) = account else { return Ok(None) };
        let tier = self.identities.tier_of(session.identity).await?;
        Ok(Some(FinishedRequest { request, balance: account.balance(), held: account.held(), tier }))
    }
}

/// How a request begins.
enum Begun {
    Running(Box<Running>),
    Replayed(KeyedResponse),
}

impl Failure {
    fn message(&self) -> String {
        let why = match self {
            Self::Backend(InferenceError::Refused(_)) => "The AI backend refused the request.",
            Self::Backend(_) => "The work could not be done.",
            Self::Empty => "The model gave no answer.",
        };
        format!("{why} Nothing was charged.")
    }

    fn cause(&self) -> String {
        match self {
            Self::Backend(failure) => chain(failure),
            Self::Empty => "the answer is empty".to_owned(),
        }
    }
}

/// Books runs that nobody pays for.
async fn book_all(runs: Vec<(UnpaidRun, Usage)>) {
    for (run, usage) in runs {
        run.unpaid(&usage).await;
    }
}

fn add(a: Msats, b: Msats) -> Msats {
    a.checked_add(b).unwrap_or(Msats::MAX)
}

/// A shorter output that `available` pays for, unless the customer has said how much is wanted.
fn shortened(quote: &Quote, wanted: Option<u64>, available: Msats) -> Option<u64> {
    if wanted.is_some() { None } else { affordable(quote, available) }
}

/// The most output that `available` pays for at the rates of a quote; `None` if that is too little to be of use.
fn affordable(quote: &Quote, available: Msats) -> Option<u64> {
    let costs_at_most = |output_tokens: u64| {
        let input_tokens = quote.tokens.max_input;
        let usage = Usage { input_tokens, cached_input_tokens: 0, output_tokens };
        quote.price(&usage).is_ok_and(|price| price.msats <= available)
    };
    let (mut affordable, mut too_much) = (SHORTENED_OUTPUT_MIN, quote.tokens.max_output);
    if affordable >= too_much || !costs_at_most(affordable) {
        return None;
    }
    while too_much - affordable > 1 {
        let middle = affordable.midpoint(too_much);
        if costs_at_most(middle) { affordable = middle } else { too_much = middle }
    }
    Some(affordable)
}
