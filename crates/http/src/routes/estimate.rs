//! What a request would cost.

use super::written;
use crate::identity;
use crate::problem::{Problem, ProblemBody};
use crate::query::Query;
use crate::state::AppState;
use crate::wire::EstimateBody;
use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

/// What a request would cost
///
/// Changes nothing and costs nothing. With an identity it says what the pool would pay now. A URL has room for about 60 kB of text; `POST /api/jobs` takes more.
#[utoipa::path(
    get, path = "/api/estimate", tag = "Jobs", operation_id = "estimate",
    params(
        ("request" = String, Query, description = "what you want done", example = "Why is the sky blue?"),
        ("model" = Option<String>, Query, description = "the model to use; the server's choice without it"),
        ("maxOutputTokens" = Option<u64>, Query, description = "the most output that you want, in tokens"),
        ("nostr_token" = Option<String>, Query, description = "an identity's token"),
    ),
    responses(
        (status = 200, description = "what it would cost", body = EstimateBody),
        (status = 400, description = "the request is missing or cannot be taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price is known", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn estimate(
    state: Data<AppState>,
    request: HttpRequest,
) -> Result<Json<EstimateBody>, Problem> {
    let query = Query::parse(request.query_string())?;
    let text = query
        .get("request")
        .ok_or_else(|| Problem::new(crate::Code::InvalidField, "Query param 'request' is required"))?;
    let (text, model) = (text.to_owned(), query.get("model").map(str::to_owned));
    let limit = query.get("maxOutputTokens").map(str::parse::<u64>).transpose();
    let limit = limit.map_err(|_| Problem::field("maxOutputTokens", "it is not a whole number"))?;
    let identity = identity::of_reading(&state, &request)?;
    let engine = state.engine.clone();
    let estimate =
        state.run(async move { engine.estimate(&text, model.as_deref(), limit, identity).await }).await?;
    written(EstimateBody::try_from(&estimate)).map(Json)
}
