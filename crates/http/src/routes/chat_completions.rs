//! OpenAI's chat completions.

use crate::ai::{Asked, ChatWire, have_answered};
use crate::body::{self, AI_LIMIT};
use crate::payment_sessions;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_openai_chat::{ChatCompletionRequest, RequestError};

/// Complete a chat (OpenAI)
///
/// OpenAI's chat completions: text, images as data URLs, functions, structured output, reasoning, streams. The key is the macaroon of a
/// session; an install (`X-Install-Id`) or an identity can pay instead, with `none` as the key. `usage` has also `cost` (in dollars),
/// `cost_msats` and `absorbed_msats`. What is not known goes to the backend, or is ignored; what cannot be priced is refused: tools that
/// the backend runs, audio, files, remote images, several answers (`n`). Errors have OpenAI's shape, with Tithe's fields in `metadata`.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "AI API", operation_id = "createChatCompletion",
    security(
        ("Macaroon" = []), ("PaymentProof" = []), ("ApiKey" = []), ("InstallId" = []), ("InstallId" = [], "Licence" = []), ("NostrToken" = []), ("NostrTokenInQuery" = []),
        ("NostrSignature" = []),
    ),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same answer for 24 hours, and is charged once"),
    ),
    request_body(content = Object, content_type = "application/json", description = "as OpenAI's API describes it"),
    responses(
        (status = 200, description = "the answer, or a stream of `chat.completion.chunk`s"),
        (status = 400, description = "invalid body, or something that cannot be priced; `param` names the field"),
        (status = 401, description = "an invalid key, proof of payment, licence or identity"),
        (
            status = 402, description = "nobody pays for the request: `metadata` has `reason`, `requiredSats`, `balanceSats`, `topUp`, and `offer` (`OfferBody`), an invoice for this request; or the proof of payment is for another request, or buys nothing any more; nothing was charged",
            headers(("WWW-Authenticate" = String, description = "how to pay for this request: two challenges of `L402`, and those of `Payment`: a charge and a session")),
        ),
        (status = 403, description = "the key is not for this model"),
        (status = 404, description = "unknown model"),
        (status = 409, description = "the session has ended; or the idempotency key was used with a different request, or its first request is still in progress"),
        (status = 413, description = "the body is larger than 32 MiB"),
        (status = 422, description = "the backend refused the request; nothing was charged"),
        (status = 429, description = "too many streams or requests from this address"),
        (status = 502, description = "the work failed; nothing was charged"),
        (status = 503, description = "no BTC price, AI backend unavailable, server too busy or shutting down; nothing was charged"),
    )
)]
pub(crate) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if let Some(response) = payment_sessions::managed(&state, &request).await? {
        return Ok(response);
    }
    let bytes = body::read_up_to(AI_LIMIT, &request, payload).await?;
    let ChatCompletionRequest { model, chat, stream, include_usage } =
        ChatCompletionRequest::decode(&bytes).map_err(invalid)?;
    let wire = Box::new(ChatWire::new(model.clone(), include_usage));
    let asked = Asked { model, chat, is_stream: stream };
    have_answered(&state, &request, &bytes, asked, wire).await.map_err(Problem::private)
}

fn invalid(wrong: RequestError) -> Problem {
    Problem::new(Code::InvalidField, wrong.message).about_parameter(wrong.param)
}
