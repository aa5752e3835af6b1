//! Plain requests, paid for by whoever can.

use super::plain_answer::{PlainAnswer, PlainReply, wants_stream};
use crate::credentials::Incoming;
use crate::payers::{self};
use crate::payment_sessions;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wanted::Wanted;
use crate::wire::{AnyReplyBody, AskBody};
use crate::{body, idempotency};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_engine::metered::Prompt;

/// Have a request done
///
/// The first of these pays for the request: a session (its macaroon), a payment for just this request (its proof), the plan of an install
/// (`X-Install-Id`), the pool (an identity that is trusted enough). If none does, the response is a 402 that says what the request costs, and
/// offers an invoice: pay it, and send the same request with the proof. Whatever credentials a request carries must all be valid.
///
/// A payment for this request buys it once: repeating the proof repeats the answer, and what was not used is refunded. A session is charged as by `POST /api/sessions/{sessionId}/request`. A credit of an install is given back if the request fails.
///
/// With `Accept: text/event-stream`, the answer comes as it is generated: `event: delta` with `{"text"}`, and at the end `event: done`
/// with the body of the other response, or `event: error` with a problem. What ends before any text is an ordinary response. If the
/// client of a stream leaves, the request ends. Any other request is finished even if its client leaves: repeat it with its
/// `Idempotency-Key`.
#[utoipa::path(
    post, path = "/api/ask", tag = "Requests", operation_id = "ask",
    security(
        ("Macaroon" = []), ("PaymentProof" = []), ("InstallId" = []), ("InstallId" = [], "Licence" = []), ("NostrToken" = []), ("NostrTokenInQuery" = []),
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
                ("Payment-Receipt" = String, description = "the receipt of the payment, if the request was paid for by itself: base64url of a JSON object"),
            ),
        ),
        (status = 400, description = "invalid body or header; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an invalid macaroon, proof of payment, licence or identity", body = ProblemBody, content_type = "application/problem+json"),
        (
            status = 402, description = "nobody pays for the request: `reason`, `requiredSats`, `requiredMsats`, `balanceSats`, `topUp`, `credits` if an install has none left, and `offer` (`OfferBody`), an invoice for this request; or the proof of payment is for another request, or buys nothing any more; nothing was charged",
            body = ProblemBody, content_type = "application/problem+json",
            headers(("WWW-Authenticate" = String, description = "how to pay for this request: two challenges of `L402`, and those of `Payment`: a charge and a session")),
        ),
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
    if let Some(response) = payment_sessions::managed(state, request).await? {
        return Ok(response);
    }
    let bytes = body::read(request, payload).await?;
    let AskBody { request: text, model, max_output_tokens, nostr_token } = body::json(&bytes)?;
    let key = idempotency::read(request, &bytes, state.engine.settings())?;
    let incoming = Incoming::with_body(request, &bytes, nostr_token.as_deref())?.with_bearer().with_proofs();
    let reply = Arc::new(PlainReply::new());
    let wanted = Wanted {
        id: None,
        prompt: Prompt::text(text),
        model,
        max_output_tokens,
        is_stream: wants_stream(request),
        of_session: Arc::<PlainReply>::clone(&reply),
        of_others: reply,
        format: PlainAnswer,
        problem: Problem::from,
    };
    payers::have_done(state, request, &incoming, key, wanted).await
}
