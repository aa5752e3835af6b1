//! What is offered, and at what price.

use super::written;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{ModelBody, ModelListBody};
use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

/// List the models
///
/// The models that a request may name, with their prices at the current BTC price. Prices include the margin.
#[utoipa::path(
    get, path = "/api/models", tag = "Jobs", operation_id = "listModels",
    responses(
        (status = 200, description = "the models, by name", body = ModelListBody),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no current BTC price", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    state: Data<AppState>,
    request: HttpRequest,
) -> Result<Json<ModelListBody>, Problem> {
    Incoming::without_body(&request)?.identify(&state)?;
    let quotes = state.engine.quotes.clone();
    let offered = state.run(async move { quotes.price_list().await }).await?;
    let models = offered.iter().map(ModelBody::try_from).collect::<Result<_, _>>();
    written(models.map(|models| ModelListBody { models })).map(Json)
}
