//! OpenAI's responses.

use crate::ai::{Asked, ResponsesWire, have_answered};
use crate::body::{self, AI_LIMIT};
use crate::payment_sessions;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_openai_responses::{RequestError, ResponsesRequest};

/// Create a response (OpenAI)
///
/// OpenAI's responses, without state: `previous_response_id` is refused, and `store` is answered `false`. Otherwise as
/// `POST /v1/chat/completions`.
#[utoipa::path(
    post, path = "/v1/responses", tag = "AI API", operation_id = "createResponse",
    security(
        ("Macaroon" = []), ("PaymentProof" = []), ("ApiKey" = []), ("InstallId" = []), ("InstallId" = [], "Licence" = []), ("NostrToken" = []), ("NostrTokenInQuery" = []),
        ("NostrSignature" = []),
    ),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same answer for 24 hours, and is charged once"),
    ),
    request_body(content = Object, content_type = "application/json", description = "as OpenAI's API describes it"),
    responses(
        (status = 200, description = "the response, or a stream of its events"),
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
    let read = ResponsesRequest::decode(&bytes).map_err(invalid)?;
    let (model, chat, is_stream) = (read.model.clone(), read.chat.clone(), read.stream);
    let asked = Asked { model, chat, is_stream };
    let wire = Box::new(ResponsesWire::new(read));
    have_answered(&state, &request, &bytes, asked, wire).await.map_err(Problem::private)
}

fn invalid(wrong: RequestError) -> Problem {
    Problem::new(Code::InvalidField, wrong.message).about_parameter(wrong.param)
}
