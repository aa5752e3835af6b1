//! Requests that are charged to a session.

use super::plain_answer::{PlainAnswer, PlainReply, wants_stream};
use super::sessions::access;
use crate::payers::{self};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wanted::Wanted;
use crate::wire::{SessionReplyBody, SessionWorkBody};
use crate::{body, idempotency};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_engine::metered::Prompt;

/// Have a request done
///
/// The most that the request can cost is held, the request is evaluated and done, and what it really cost is charged. Without
/// `maxOutputTokens`, the hold grows while the answer is generated, which is as long as the balance allows. A request that fails costs nothing; one that the evaluation
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
    let SessionWorkBody { request: text, model, max_output_tokens } = asked;
    let reply = Arc::new(PlainReply::new());
    let wanted = Wanted {
        id: None,
        prompt: Prompt::text(text),
        model,
        max_output_tokens,
        is_stream: wants_stream(&request),
        of_session: Arc::<PlainReply>::clone(&reply),
        of_others: reply,
        format: PlainAnswer,
        problem: Problem::from,
    };
    payers::for_session(&state, &request, access, key, wanted).await
}
