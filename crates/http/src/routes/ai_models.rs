//! The models, as clients of the AI API list them.

use crate::problem::Problem;
use crate::state::AppState;
use crate::wire::{AiModelBody, AiModelListBody};
use actix_web::web::{Data, Json, Path};
use tithe_engine::quotes::OfferedModel;

/// List the models (OpenAI, Anthropic, OpenRouter)
///
/// Free of charge, and without a key. Each row has the fields of OpenAI's, OpenRouter's and Anthropic's lists at once.
#[utoipa::path(
    get, path = "/v1/models", tag = "AI API", operation_id = "listAiModels", security(()),
    responses(
        (status = 200, description = "the models, by name", body = AiModelListBody),
        (status = 503, description = "no current BTC price"),
    )
)]
pub(crate) async fn list(state: Data<AppState>) -> Result<Json<AiModelListBody>, Problem> {
    let offered = offered(&state).await?;
    Ok(Json(AiModelListBody::of(offered.iter().map(AiModelBody::from).collect())))
}

/// Read a model (OpenAI, Anthropic)
///
/// Free of charge, and without a key. The name may contain slashes.
#[utoipa::path(
    get, path = "/v1/models/{model}", tag = "AI API", operation_id = "readAiModel", security(()),
    params(("model" = String, Path, description = "the name of the model")),
    responses(
        (status = 200, description = "the model", body = AiModelBody),
        (status = 404, description = "unknown model"),
        (status = 503, description = "no current BTC price"),
    )
)]
pub(crate) async fn read(state: Data<AppState>, name: Path<String>) -> Result<Json<AiModelBody>, Problem> {
    let offered = offered(&state).await?;
    let known = offered.iter().find(|model| model.name == *name);
    known.map(|model| Json(AiModelBody::from(model))).ok_or_else(|| Problem::unknown_model(&name))
}

async fn offered(state: &AppState) -> Result<Vec<OfferedModel>, Problem> {
    let quotes = state.engine.quotes.clone();
    state.run(async move { quotes.price_list().await }).await
}
