//! How the pool stands.

use super::written;
use crate::identity;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::PoolBody;
use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

/// How the pool stands
///
/// The pool pays for work of identities that are trusted. A part of what is charged goes into it.
#[utoipa::path(
    get, path = "/api/pool", tag = "Pool", operation_id = "readPool",
    responses(
        (status = 200, description = "the pool", body = PoolBody),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(state: Data<AppState>, request: HttpRequest) -> Result<Json<PoolBody>, Problem> {
    identity::of_reading(&state, &request)?;
    let engine = state.engine.clone();
    let pool = state.run(async move { engine.pool_status().await }).await?;
    written(PoolBody::try_from(&pool)).map(Json)
}
