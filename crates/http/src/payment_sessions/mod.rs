//! Sessions of the scheme `Payment` (`draft-lightning-session-00`): a deposit that is opened, pays for requests, is topped up and closed,
//! all on the metered and the mounted routes themselves.

mod document;
mod events;
mod manage;
mod without_body;

pub(crate) use document::extend;
pub(crate) use manage::managed;
pub(crate) use without_body::without_body;

use crate::answering::{AnswerFormat, Answering};
use crate::credentials::Incoming;
use crate::licence::check_licence;
use crate::limits::{Payer, UnpaidRequest};
use crate::offers::{self, Offering};
use crate::paid_request::{MCP_PATH, PaidBy, PaidFor};
use crate::problem::{Code, Problem};
use crate::receipts;
use crate::state::AppState;
use crate::wanted::Wanted;
use actix_web::{HttpRequest, HttpResponse};
use events::{AskForTopUp, WithReceipt};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::credits::PresentedInstall;
use tithe_engine::idempotency::{Idempotency, KeyedResponse, Seen};
use tithe_engine::records::IdempotencyRequest;
use tithe_engine::sessions::{
    NewDeposit, NewWork, PaymentSessionAccess, PaymentSessionError, Replenish, SessionCredential, Sessions,
};
use tithe_money::Sats;
use tithe_paywall::RequestDigest;
use tithe_paywall::payment::SessionAction;
use tithe_sessions::SessionId;
use tokio::time::{Instant, sleep};

/// How long a repetition waits before it looks again whether its request has been answered: this, doubled each time, up to the maximum.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
const ANSWER_INTERVAL_MAX: Duration = Duration::from_secs(2);

/// Has a request done, and charges it to the session of a credential, which the credential may open. A credential is used for one request;
/// repeating it repeats the answer.
pub(crate) async fn have_done<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
    (authorization, install): (&str, Option<PresentedInstall>),
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    // Other credentials beside it must be valid.
    let identity = incoming.identify(state)?.identity_by_token();
    let credential = state.engine.sessions.session_credential(authorization)?;
    if let Some(response) = manage::manage(state, request, &credential).await? {
        return Ok(response);
    }
    let by = PaidBy { install: install.as_ref().map(|install| install.id), identity };
    check_licence(state, install).await?;
    state.refuse_while_draining()?;
    let offering = Offering::new(state, request, incoming, &wanted, identity);
    let paid_for = PaidFor::new(request, by, incoming.paid_body());
    let hash = wanted.prompt.hash();
    let opened = match opened(state, &credential).await {
        Ok(opened) => opened,
        Err(problem) => {
            let payer = Payer::Unknown(state.limits.client(request));
            let offered = offering.add_to(problem, &paid_for, state).await;
            return Err(offered.if_unpaid(UnpaidRequest { payer, hash }));
        }
    };
    let session = opened.access.session;
    match charged(state, request, (&credential, opened), paid_for.digest(), wanted).await {
        Ok(mut response) => {
            // What a mounted route redirects is charged, too.
            if response.status().is_success() || response.status().is_redirection() {
                receipts::add_of_session(state, &credential, None, &mut response).await;
            }
            Ok(response)
        }
        Err(problem) if problem.status() == 402 => {
            let offered = if problem.code() == Code::InsufficientBalance {
                // Whoever has a session tops it up, and does not pay for the request by itself.
                let new = NewDeposit {
                    unit: problem.required().unwrap_or(Sats::ONE),
                    identity,
                    origin: offers::origin(state, request),
                };
                // A session is topped up on any of the metered routes.
                let path = match request.uri().path() {
                    MCP_PATH => "/api/ask",
                    path => path,
                };
                offers::add_deposit(problem.about_payment_session(path), new, state).await
            } else {
                offering.add_to(problem, &paid_for, state).await
            };
            Err(offered.if_unpaid(UnpaidRequest { payer: Payer::Known(session.0), hash }))
        }
        Err(problem) => Err(problem),
    }
}

/// The open session of a credential.
async fn opened(state: &AppState, credential: &SessionCredential) -> Result<PaymentSessionAccess, Problem> {
    let (sessions, credential) = (state.engine.sessions.clone(), credential.clone());
    let opening = async move {
        match credential.action() {
            SessionAction::Open { .. } => sessions.open_payment_session(&credential).await,
            _ => sessions.bearer(&credential).await,
        }
    };
    state.run_change(opening).await
}

/// Does the request, once for each challenge.
async fn charged<F: AnswerFormat>(
    state: &AppState,
    request: &HttpRequest,
    (credential, opened): (&SessionCredential, PaymentSessionAccess),
    digest: RequestDigest,
    wanted: Wanted<F>,
) -> Result<HttpResponse, Problem> {
    let sessions = state.engine.sessions.clone();
    let key = sessions.key_of_challenge(credential, &opened, digest);
    let PaymentSessionAccess { access, payment_hash } = opened;
    let Wanted { id, prompt, model, max_output_tokens, is_stream, of_session, format, problem, .. } = wanted;
    let payer = Some(access.session.0);
    let (answering, client) = Answering::new(state, request, payer, is_stream, F::is_sent)?;
    let replenish = answering.notices().map(|notices| {
        let ask: Arc<dyn Replenish> = Arc::new(AskForTopUp { session: payment_hash, notices });
        ask
    });
    let new = NewWork { id, access, prompt, model, max_output_tokens, client, replenish };
    let settings = state.engine.settings();
    // What runs ends within this time; its server may die at the end of it.
    let until = Instant::now() + settings.work_timeout + settings.lease * 2;
    let idempotency = state.engine.idempotency.clone();
    let work = async move {
        let waiting = (&*sessions, new.access.session);
        let done = match answered(&idempotency, waiting, &key, until).await {
            Ok(Some(response)) => return Ok(response),
            Ok(None) => sessions.request(new, Some(key.clone()), of_session).await,
            Err(failure) => Err(failure),
        };
        let done = match done {
            // The same credential came at the same time, and was a little faster.
            Err(EngineError::RequestInProgress) => match answered(&idempotency, waiting, &key, until).await {
                Ok(Some(response)) => Ok(response),
                Ok(None) => Err(EngineError::RequestInProgress),
                Err(failure) => Err(failure),
            },
            done => done,
        };
        done.map_err(|failure| match failure {
            EngineError::IdempotencyKeyReused => refused(PaymentSessionError::UsedForAnotherRequest),
            EngineError::SessionState(_) => refused(PaymentSessionError::Ended),
            failure => problem(failure),
        })
    };
    let clock = Arc::clone(&state.engine.ports().clock);
    answering.with(state, WithReceipt { format, session: payment_hash, clock }, work).await
}

fn refused(error: PaymentSessionError) -> Problem {
    Problem::from(EngineError::from(error))
}

/// The response that was given to a request with this key, for which is waited as long as the request is being done. `None` if the request
/// is to be done.
async fn answered(
    idempotency: &Idempotency,
    (sessions, session): (&Sessions, SessionId),
    key: &IdempotencyRequest,
    until: Instant,
) -> Result<Option<KeyedResponse>, EngineError> {
    let mut wait = ANSWER_INTERVAL;
    let mut waiter = None;
    loop {
        match idempotency.seen(key).await {
            Ok(Seen::Answered(response)) => return Ok(Some(KeyedResponse::replay(response))),
            Ok(Seen::Never | Seen::Begun) => return Ok(None),
            Err(EngineError::RequestInProgress) if Instant::now() < until => {
                waiter = waiter.or_else(|| sessions.waiter(session));
                if waiter.is_none() {
                    return Err(EngineError::RequestInProgress);
                }
            }
            Err(failure) => return Err(failure),
        }
        sleep(wait).await;
        wait = wait.saturating_mul(2).min(ANSWER_INTERVAL_MAX);
    }
}
