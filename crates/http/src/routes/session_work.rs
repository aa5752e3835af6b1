//! Requests that are charged to a session.

use super::answering::Answering;
use super::plain_answer::{PlainAnswer, wants_stream};
use super::sessions::{access, refuse_while_draining};
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{SessionReplyBody, SessionWorkBody};
use crate::{body, idempotency};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use std::sync::Arc;
use tithe_engine::metered::Prompt;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, NewWork, RenderRequest, SessionAccess};
use tithe_sessions::RequestState;

/// Have a request done
///
/// The most that the request can cost is held, the request is evaluated and done, and what it really cost is charged. Without
/// `maxOutputTokens`, the answer is as long as the balance allows. A request that fails costs nothing; one that the evaluation
/// rejects costs the evaluation.
///
/// With `Accept: text/event-stream`, the answer comes as it is generated: `event: delta` with `{"text"}`, and at the end `event: done`
/// with the body of the other response, or `event: error` with a problem. What ends before any text is an ordinary response. If the client of a stream leaves, it is charged for what it
/// got. Any other request is finished and charged even if its client leaves: repeat it with its `Idempotency-Key`, or find the answer
/// in the session's history.
#[utoipa::path(
    post, path = "/api/sessions/{sessionId}/request", tag = "Sessions", operation_id = "requestOfSession",
    security(("Macaroon" = [])),
    params(
        ("sessionId" = Uuid, Path, description = "the session's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours, and is charged once"),
    ),
    request_body = SessionWorkBody,
    responses(
        (
            status = 200, description = "the answer", body = SessionReplyBody,
            headers(
                ("X-Tithe-Balance-Msats" = u64, description = "the balance, in msats"),
                ("X-Tithe-Cost-Msats" = u64, description = "what the request cost, in msats"),
            ),
        ),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing, invalid or revoked macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "the balance, or a limit of the macaroon, is too low (`requiredSats`, `balanceSats`, `topUp`), or the deposit is not paid; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session, or not for this model", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "session not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the session has ended; or the idempotency key was used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the evaluation rejected the request (`reason`), and only the evaluation was charged; or the backend refused it, and nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "the work failed; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price, AI backend unavailable, server too busy or shutting down; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn request(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let access = access(&state, &request, &id)?;
    let asked: SessionWorkBody = body::json(&bytes)?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    charge(&state, &request, access, asked, key).await
}

/// Has a request done and charges it to the session.
pub(super) async fn charge(
    state: &AppState,
    request: &HttpRequest,
    access: SessionAccess,
    asked: SessionWorkBody,
    key: Option<idempotency::Key>,
) -> Result<HttpResponse, Problem> {
    let key = key.map(|key| key.in_scope(access.scope()));
    refuse_while_draining(state)?;
    let (answering, client) = Answering::new(state, request, Some(access.session.0), wants_stream(request))?;
    let SessionWorkBody { request: text, model, max_output_tokens } = asked;
    let new = NewWork { id: None, access, prompt: Prompt::text(text), model, max_output_tokens, client };
    let render = Arc::new(Reply { http_request_id: crate::request_id::current() });
    let sessions = state.engine.sessions.clone();
    let work = async move { Ok(sessions.request(new, key, render).await?) };
    answering.with(state, PlainAnswer, work).await
}

/// Renders the response to a request.
#[derive(Debug)]
struct Reply {
    http_request_id: String,
}

impl RenderRequest for Reply {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        if let RequestState::Rejected { reason, ended } = &finished.request.state {
            let problem =
                Problem::new(Code::RequestRejected, format!("the request was not accepted: {reason}"))
                    .with_extension("reason", reason.clone())
                    .with_extension("costMsats", ended.cost.get())
                    .with_extension("debitedMsats", ended.charged.get())
                    .with_extension("balanceMsats", finished.balance.get());
            let body = problem.body_text_of(&self.http_request_id);
            return StoredResponse { status: problem.status_code().as_u16(), body };
        }
        let body = SessionReplyBody::of(finished).ok().flatten();
        let body = body.and_then(|body| serde_json::to_string(&body).ok()).unwrap_or_default();
        StoredResponse { status: 200, body }
    }
}
