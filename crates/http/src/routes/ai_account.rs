//! What a session has, and what its requests cost, as clients of the AI API ask for it.

use crate::credentials::Incoming;
use crate::problem::{Code, Problem};
use crate::state::AppState;
use crate::wire::{AiCreditsBody, AiKeyBody, GenerationBody};
use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use tithe_engine::EngineError;
use tithe_engine::sessions::SessionAccess;
use tithe_sessions::RequestId;
use uuid::Uuid;

/// Read the balance (OpenRouter)
///
/// What was paid into the session of the key, and what was spent: in dollars at the present BTC price, and in msats.
#[utoipa::path(
    get, path = "/v1/credits", tag = "AI API", operation_id = "readAiCredits", security(("Macaroon" = []), ("ApiKey" = [])),
    responses(
        (status = 200, description = "the balance", body = AiCreditsBody),
        (status = 401, description = "no key, or an invalid one"),
        (status = 503, description = "no current BTC price"),
    )
)]
pub(crate) async fn credits(
    state: Data<AppState>,
    request: HttpRequest,
) -> Result<Json<AiCreditsBody>, Problem> {
    let access = access(&state, &request).await?;
    let engine = state.engine.clone();
    let (view, btc) = state
        .run(async move {
            let view = engine.sessions.view(access.session).await?;
            Ok((view, engine.quotes.btc_price().await?))
        })
        .await
        .map_err(Problem::private)?;
    AiCreditsBody::new(&view, btc).map(Json).map_err(|_| Problem::from(EngineError::Internal))
}

/// Read the key (OpenRouter)
///
/// The limits of the key, and what is left of them: in dollars at the present BTC price, and in msats.
#[utoipa::path(
    get, path = "/v1/key", tag = "AI API", operation_id = "readAiKey", security(("Macaroon" = []), ("ApiKey" = [])),
    responses(
        (status = 200, description = "the key", body = AiKeyBody),
        (status = 401, description = "no key, or an invalid one"),
        (status = 503, description = "no current BTC price"),
    )
)]
pub(crate) async fn key(state: Data<AppState>, request: HttpRequest) -> Result<Json<AiKeyBody>, Problem> {
    let access = access(&state, &request).await?;
    let (engine, session) = (state.engine.clone(), access.session);
    let (view, keys, btc) = state
        .run(async move {
            let view = engine.sessions.view(session).await?;
            Ok((view, engine.sessions.keys(session).await?, engine.quotes.btc_price().await?))
        })
        .await
        .map_err(Problem::private)?;
    AiKeyBody::new(&access, &view, &keys, btc).map(Json).map_err(|_| Problem::from(EngineError::Internal))
}

/// Read what a request used and cost (OpenRouter)
///
/// The id is in the header `X-Generation-Id` of every answer that a session has paid for. A narrowed key reads only its own requests.
#[utoipa::path(
    get, path = "/v1/generation", tag = "AI API", operation_id = "readGeneration", security(("Macaroon" = []), ("ApiKey" = [])),
    params(("id" = String, Query, format = "uuid", description = "the id of the request")),
    responses(
        (status = 200, description = "the request", body = GenerationBody),
        (status = 400, description = "no id"),
        (status = 401, description = "no key, or an invalid one"),
        (status = 404, description = "the session has no such request"),
        (status = 503, description = "no current BTC price"),
    )
)]
pub(crate) async fn generation(
    state: Data<AppState>,
    request: HttpRequest,
) -> Result<Json<GenerationBody>, Problem> {
    let access = access(&state, &request).await?;
    let incoming = Incoming::without_body(&request)?;
    let id = incoming.query().get("id").map(str::to_owned);
    let id = id.ok_or_else(|| Problem::field("id", "missing parameter: expected the id of a request"))?;
    let id: Uuid = id.parse().map_err(|_| Problem::field("id", "expected a UUID"))?;
    let engine = state.engine.clone();
    let (found, btc) = state
        .run(async move {
            let found = engine.sessions.request_of(&access, RequestId(id)).await?;
            Ok((found, engine.quotes.btc_price().await?))
        })
        .await
        .map_err(Problem::private)?;
    GenerationBody::new(&found, btc).map(Json).map_err(|_| Problem::from(EngineError::Internal))
}

/// What the key of a request allows.
async fn access(state: &AppState, request: &HttpRequest) -> Result<SessionAccess, Problem> {
    let incoming = Incoming::without_body(request)?.with_bearer().with_api_key();
    incoming.identify(state)?;
    let access = incoming.session(state)?.ok_or_else(|| {
        let detail = "missing key: expected the macaroon of a session as Authorization: Bearer or x-api-key";
        Problem::new(Code::MacaroonRequired, detail)
    })?;
    let (sessions, checked) = (state.engine.sessions.clone(), access.clone());
    state.run(async move { sessions.check_revoked(&checked).await }).await?;
    Ok(access)
}
