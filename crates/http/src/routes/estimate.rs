//! Price estimates.

use super::written;
use crate::body;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{EstimateBody, NewJobBody};
use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use tithe_trust::NostrPubkey;

/// Estimate a price
///
/// An estimate is free and has no side effects. With an identity, it includes the amount that the pool would currently
/// pay. A URL has room for about 30 kB of text; `POST /api/estimate` accepts more.
#[utoipa::path(
    get, path = "/api/estimate", tag = "Jobs", operation_id = "estimate",
    params(
        ("request" = String, Query, description = "the text of the request", example = "Why is the sky blue?"),
        ("model" = Option<String>, Query, description = "the model to use; defaults to the server's choice"),
        ("maxOutputTokens" = Option<u64>, Query, description = "the maximum length of the output, in tokens"),
        ("nostr_token" = Option<String>, Query, description = "the token of an identity"),
    ),
    responses(
        (status = 200, description = "the estimate", body = EstimateBody),
        (status = 400, description = "missing or invalid parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no current BTC price", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn estimate(
    state: Data<AppState>,
    request: HttpRequest,
) -> Result<Json<EstimateBody>, Problem> {
    let incoming = Incoming::without_body(&request)?;
    let query = incoming.query();
    let text = query
        .get("request")
        .ok_or_else(|| Problem::new(crate::Code::InvalidField, "Query param 'request' is required"))?;
    let (text, model) = (text.to_owned(), query.get("model").map(str::to_owned));
    let limit = query.get("maxOutputTokens").map(str::parse::<u64>).transpose();
    let limit = limit.map_err(|_| Problem::field("maxOutputTokens", "expected a non-negative integer"))?;
    let identity = incoming.identify(&state)?.identity;
    answer(&state, text, model, limit, identity).await
}

/// Estimate the price of a long text
///
/// The same as `GET /api/estimate`, for texts that a URL cannot carry.
#[utoipa::path(
    post, path = "/api/estimate", tag = "Jobs", operation_id = "estimateText",
    request_body = NewJobBody,
    responses(
        (status = 200, description = "the estimate", body = EstimateBody),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no current BTC price", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn estimate_text(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<Json<EstimateBody>, Problem> {
    let bytes = body::read(&request, payload).await?;
    let asked: NewJobBody = body::json(&bytes)?;
    let incoming = Incoming::with_body(&request, &bytes, asked.nostr_token.as_deref())?;
    // Nothing is changed, so that a signature may be used again.
    let identity = incoming.identify(&state)?.identity;
    answer(&state, asked.request, asked.model, asked.max_output_tokens, identity).await
}

async fn answer(
    state: &AppState,
    text: String,
    model: Option<String>,
    limit: Option<u64>,
    identity: Option<NostrPubkey>,
) -> Result<Json<EstimateBody>, Problem> {
    let quotes = state.engine.quotes.clone();
    let estimate =
        state.run(async move { quotes.estimate(&text, model.as_deref(), limit, identity).await }).await?;
    written(EstimateBody::try_from(&estimate)).map(Json)
}
