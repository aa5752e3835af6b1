//! Price estimates.

use super::written;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::EstimateBody;
use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

/// Estimate a price
///
/// An estimate is free and has no side effects. With an identity, it includes the amount that the pool would currently
/// pay. A URL has room for about 60 kB of text; `POST /api/jobs` accepts more.
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
    let identity = incoming.authenticate_read(&state)?.identity;
    let quotes = state.engine.quotes.clone();
    let estimate =
        state.run(async move { quotes.estimate(&text, model.as_deref(), limit, identity).await }).await?;
    written(EstimateBody::try_from(&estimate)).map(Json)
}
