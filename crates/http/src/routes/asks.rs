//! Plain requests, paid for by whoever can.

use super::answering::Answering;
use super::plain_answer::{PlainAnswer, wants_stream};
use super::session_work;
use super::sessions::refuse_while_draining;
use crate::body;
use crate::credentials::{Caller, Incoming};
use crate::idempotency::{self, Begun};
use crate::problem::{self, Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{AnyReplyBody, AskBody, AskReplyBody, CreditsBody, SessionWorkBody};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use std::sync::Arc;
use tithe_engine::asks::{FinishedAsk, NewAsk, RenderAsk};
use tithe_engine::credits::PresentedInstall;
use tithe_engine::jobs::Origin;
use tithe_engine::metered::Prompt;
use tithe_engine::records::StoredResponse;
use tithe_engine::{Engine, EngineError, PaymentNeeded};
use uuid::Uuid;

/// Have a request done
///
/// The first of these pays for the request: a session (its macaroon), the plan of an install (`X-Install-Id`), the pool (an identity that
/// is trusted enough). If none does, the response is a 402 that says what the request costs, and how to pay. Whatever credentials a
/// request carries must all be valid.
///
/// A session is charged as by `POST /api/sessions/{sessionId}/request`. A credit of an install is given back if the request fails.
///
/// With `Accept: text/event-stream`, the answer comes as it is generated: `event: delta` with `{"text"}`, and at the end `event: done`
/// with the body of the other response, or `event: error` with a problem. What ends before any text is an ordinary response. If the
/// client of a stream leaves, the request ends. Any other request is finished even if its client leaves: repeat it with its
/// `Idempotency-Key`.
#[utoipa::path(
    post, path = "/api/ask", tag = "Requests", operation_id = "ask",
    security(
        ("Macaroon" = []), ("InstallId" = []), ("InstallId" = [], "Licence" = []), ("NostrToken" = []), ("NostrTokenInQuery" = []),
        ("NostrSignature" = []),
    ),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours, and is paid for once"),
    ),
    request_body = AskBody,
    responses(
        (
            status = 200, description = "the answer", body = AnyReplyBody,
            headers(
                ("X-Tithe-Backend" = String, description = "where the work ran (`cloud` or `hardware`); absent if a session paid"),
                ("X-Tithe-Balance-Msats" = u64, description = "the balance of the session, in msats, if a session paid"),
                ("X-Tithe-Cost-Msats" = u64, description = "what the request cost, in msats"),
            ),
        ),
        (status = 400, description = "invalid body or header; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an invalid macaroon, licence or identity", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "nobody pays for the request: `reason`, `requiredSats`, `requiredMsats`, `balanceSats`, `topUp`, and `credits` if an install has none left; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon is not for this model", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "session not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the session has ended; or the idempotency key was used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the evaluation rejected the request (`reason`), or the backend refused it; no more than the evaluation was charged, and only to a session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many new installs, event streams or requests from this address", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "the work failed; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price, AI backend or hardware unavailable, server too busy or shutting down; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ask(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    answer(&state, &request, payload).await.map_err(Problem::private)
}

async fn answer(state: &AppState, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let bytes = body::read(request, payload).await?;
    let AskBody { request: text, model, max_output_tokens, nostr_token } = body::json(&bytes)?;
    let key = idempotency::read(request, &bytes, state.engine.settings())?;
    let incoming = Incoming::with_body(request, &bytes, nostr_token.as_deref())?.with_bearer();
    let session = incoming.session(state)?;
    let install = incoming.install(state)?;
    if let Some(access) = session {
        // Other credentials beside the macaroon must be valid.
        incoming.identify(state)?;
        check_licence(state, install).await?;
        let asked = SessionWorkBody { request: text, model, max_output_tokens };
        return session_work::charge(state, request, access, asked, key).await;
    }
    refuse_while_draining(state)?;
    let id = install.as_ref().map(|install| install.id);
    let (caller, key) = match idempotency::begin_of_payer(&incoming, key, id, state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(PlainAnswer::replay(request, keyed)),
    };
    let Caller { identity, signature } = caller;
    let payer = id.map(tithe_ledger::credits::InstallId::uuid).or_else(|| {
        // Half of a public key is as distinct as an id.
        identity.and_then(|identity| Uuid::from_slice(identity.to_bytes().get(..16)?).ok())
    });
    let (answering, client) = Answering::new(state, request, payer, wants_stream(request))?;
    let origin = state.limits.client(request).map(|client| Origin::new(client.to_string()));
    let presented = install.clone();
    let new =
        NewAsk { id: None, install, identity, signature, origin, prompt: Prompt::text(text), model, max_output_tokens, client };
    let render = Arc::new(Reply { http_request_id: crate::request_id::current() });
    let engine = Arc::clone(&state.engine);
    let work = async move {
        match engine.asks.ask(new, key.map(|key| *key), render).await {
            Err(EngineError::PaymentNeeded(needed)) => Err(unpaid(&engine, needed, presented).await),
            done => Ok(done?),
        }
    };
    answering.with(state, PlainAnswer, work).await
}

/// Refuses a licence that was revoked, for a request that somebody else pays for.
async fn check_licence(state: &AppState, install: Option<PresentedInstall>) -> Result<(), Problem> {
    let Some(install) = install.filter(|install| install.licence.is_some()) else { return Ok(()) };
    let credits = state.engine.credits.clone();
    state.run(async move { credits.balance(&install).await }).await.map(|_valid| ())
}

/// The problem that nobody pays for a request, with what the install has left, if its plan is why.
async fn unpaid(engine: &Engine, needed: PaymentNeeded, install: Option<PresentedInstall>) -> Problem {
    let least = engine.settings().session_payment_min.get();
    let required = needed.required.to_sats_rounding_up().map_or(u64::MAX, tithe_money::Sats::get);
    let unpaid = Problem::from(EngineError::PaymentNeeded(needed))
        .with_extension(problem::TOP_UP, problem::deposit(required.max(least)));
    let Some(install) = install.filter(|_| needed.credits.is_some()) else { return unpaid };
    let Ok(left) = engine.credits.balance(&install).await else { return unpaid };
    let credits = serde_json::to_value(CreditsBody::from(&left.balance));
    unpaid.with_extension("credits", credits.unwrap_or_default())
}

/// Renders the response to a request.
#[derive(Debug)]
struct Reply {
    http_request_id: String,
}

impl RenderAsk for Reply {
    fn render(&self, finished: &FinishedAsk) -> StoredResponse {
        if let Err(reason) = &finished.answer {
            let problem =
                Problem::new(Code::RequestRejected, format!("the request was not accepted: {reason}"))
                    .with_extension("reason", reason.clone())
                    .with_extension("costMsats", finished.cost.get())
                    .with_extension("debitedMsats", 0);
            let body = problem.body_text_of(&self.http_request_id);
            return StoredResponse { status: problem.status_code().as_u16(), body };
        }
        let body = AskReplyBody::of(finished).ok().flatten();
        let body = body.and_then(|body| serde_json::to_string(&body).ok()).unwrap_or_default();
        StoredResponse { status: 200, body }
    }
}
