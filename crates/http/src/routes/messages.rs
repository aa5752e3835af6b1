//! Anthropic's messages.

use crate::ai::{Asked, MessagesWire, have_answered};
use crate::body::{self, AI_LIMIT};
use crate::decisive_headers::anthropic_headers;
use crate::payment_sessions;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_anthropic_messages::{CountTokensRequest, MessagesRequest, RequestError, encode_token_count};
use tithe_chat::Chat;
use tithe_engine::EngineError;

/// Create a message (Anthropic)
///
/// Anthropic's messages. The key is the macaroon of a session, in `x-api-key` or `Authorization: Bearer`. To a backend with the same API,
/// the body and the headers `anthropic-version` and `anthropic-beta` are passed on as they are, but for the model, the output limit and what
/// would change the price. `usage` has also `cost` (in dollars), `cost_msats` and `absorbed_msats`. Errors have Anthropic's shape, with
/// Tithe's fields in `metadata`; a 402 is a `billing_error`.
#[utoipa::path(
    post, path = "/v1/messages", tag = "AI API", operation_id = "createMessage",
    security(
        ("Macaroon" = []), ("PaymentProof" = []), ("ApiKey" = []), ("InstallId" = []), ("InstallId" = [], "Licence" = []), ("NostrToken" = []), ("NostrTokenInQuery" = []),
        ("NostrSignature" = []),
    ),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same answer for 24 hours, and is charged once"),
    ),
    request_body(content = Object, content_type = "application/json", description = "as Anthropic's API describes it"),
    responses(
        (status = 200, description = "the message, or a stream of its events"),
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
    let MessagesRequest { model, chat, stream, .. } =
        MessagesRequest::decode(&bytes, headers(&request)).map_err(invalid)?;
    let (chat, input_tokens) = counted(&state, &model, chat).await?;
    let wire = Box::new(MessagesWire::new(model.clone(), input_tokens));
    let asked = Asked { model, chat, is_stream: stream };
    have_answered(&state, &request, &bytes, asked, wire).await.map_err(Problem::private)
}

/// Count the tokens of a prompt (Anthropic)
///
/// Free of charge. The tokens are counted by the tokenizer of this server, which may count a little less than the backend.
#[utoipa::path(
    post, path = "/v1/messages/count_tokens", tag = "AI API", operation_id = "countMessageTokens",
    request_body(content = Object, content_type = "application/json", description = "as Anthropic's API describes it"),
    responses(
        (status = 200, description = "`input_tokens`"),
        (status = 400, description = "invalid body"),
        (status = 404, description = "unknown model"),
        (status = 413, description = "the body is larger than 32 MiB"),
    )
)]
pub(crate) async fn count_tokens(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read_up_to(AI_LIMIT, &request, payload).await?;
    let CountTokensRequest { model, chat } =
        CountTokensRequest::decode(&bytes, headers(&request)).map_err(invalid)?;
    if state.engine.quotes.offered_model(&model).is_none() {
        return Err(Problem::unknown_model(&model));
    }
    let mut out = Vec::new();
    encode_token_count(&mut out, counted(&state, &model, chat).await?.1);
    Ok(HttpResponse::Ok().content_type("application/json").body(out))
}

/// A chat, and the tokens of it. A long one takes a while to count: nobody else waits for it.
async fn counted(state: &AppState, model: &str, chat: Chat) -> Result<(Chat, u64), Problem> {
    let (quotes, model) = (state.engine.quotes.clone(), model.to_owned());
    let counting = state.runtime.spawn_blocking(move || {
        let tokens = quotes.prompt_tokens(&model, &chat);
        (chat, tokens)
    });
    counting.await.map_err(|_aborted| Problem::from(EngineError::Internal))
}

/// The headers that belong to the API.
fn headers(request: &HttpRequest) -> Vec<(String, String)> {
    let texts = anthropic_headers(request)
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    texts.collect()
}

fn invalid(wrong: RequestError) -> Problem {
    Problem::new(Code::InvalidField, wrong.to_string()).about_parameter(wrong.param)
}
