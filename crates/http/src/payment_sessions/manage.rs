//! Topping sessions up and closing them: on any metered route, by any of its methods, whatever the body.

use crate::credentials::Incoming;
use crate::offers;
use crate::payment_proof;
use crate::problem::Problem;
use crate::receipts;
use crate::state::AppState;
use crate::wire::{SessionClosedBody, SessionToppedUpBody};
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::EngineError;
use tithe_engine::sessions::{NewDeposit, PaymentSessionError, SessionCredential, TopUpOutcome};
use tithe_money::Sats;
use tithe_paywall::payment::{Refund, SessionAction};
use tracing::Instrument;

/// Tops the session up, or closes it, if the credential of a request says so; `None` if it is another one. Its body is not read: these are no
/// requests to be done.
pub(crate) async fn managed(
    state: &AppState,
    request: &HttpRequest,
) -> Result<Option<HttpResponse>, Problem> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    if !values.any(|value| payment_proof::is_payment(payment_proof::split(value).0)) {
        return Ok(None);
    }
    let Some(proof) = Incoming::without_body(request)?.with_proofs().proof()? else { return Ok(None) };
    let Some(authorization) = payment_proof::of_session(&proof) else { return Ok(None) };
    let credential = state.engine.sessions.session_credential(authorization)?;
    manage(state, request, &credential).await
}

/// As [`managed`], for a credential that was read.
pub(super) async fn manage(
    state: &AppState,
    request: &HttpRequest,
    credential: &SessionCredential,
) -> Result<Option<HttpResponse>, Problem> {
    let done = match credential.action() {
        SessionAction::TopUp { .. } => top_up(state, credential).await,
        SessionAction::Close { .. } => close(state, credential).await,
        SessionAction::Open { .. } | SessionAction::Bearer { .. } => return Ok(None),
    };
    match done {
        Ok(response) => Ok(Some(response)),
        Err(problem) if problem.status() == 402 => {
            let offered = offers::add_deposit(problem, new_deposit(state, request), state).await;
            Err(offered.private())
        }
        Err(problem) => Err(problem.private()),
    }
}

/// The deposit of a session that is offered to a request whose body is not read.
pub(super) fn new_deposit(state: &AppState, request: &HttpRequest) -> NewDeposit {
    NewDeposit { unit: Sats::ONE, identity: None, origin: offers::origin(state, request) }
}

async fn top_up(state: &AppState, credential: &SessionCredential) -> Result<HttpResponse, Problem> {
    let (sessions, of_it) = (state.engine.sessions.clone(), credential.clone());
    match state.run_change(async move { sessions.top_up_by_payment(&of_it).await }).await? {
        TopUpOutcome::Credited => {
            let mut response = private(&SessionToppedUpBody::OK);
            receipts::add_of_session(state, credential, None, &mut response).await;
            Ok(response)
        }
        TopUpOutcome::Ended => {
            let problem = Problem::from(EngineError::from(PaymentSessionError::Ended));
            Err(problem.with_detail(
                "the session has ended; this top-up is refunded to the session's return invoice, unless that is for what the session itself has \
                 left: then claim it at /api/payments/{paymentHash}/refund, with `open`, its preimage, and this challenge",
            ))
        }
    }
}

async fn close(state: &AppState, credential: &SessionCredential) -> Result<HttpResponse, Problem> {
    let (sessions, of_it) = (state.engine.sessions.clone(), credential.clone());
    let closing = async move { sessions.close_by_payment(&of_it).await };
    // It waits for the refund, and goes on if its client leaves.
    let closing = state.work.spawn_on(closing.in_current_span(), &state.runtime);
    let closed = closing.await.unwrap_or(Err(EngineError::Internal))?;
    let mut response = private(&SessionClosedBody::from(&closed));
    let refund = Refund { amount: closed.refund, status: closed.status };
    receipts::add_of_session(state, credential, Some(refund), &mut response).await;
    Ok(response)
}

fn private(body: &impl serde::Serialize) -> HttpResponse {
    let mut response = HttpResponse::Ok().json(body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
