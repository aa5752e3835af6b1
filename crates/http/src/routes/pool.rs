//! Reading the pool.

use super::written;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::PoolBody;
use actix_web::HttpRequest;
use actix_web::web::{Data, Json};

/// Read the pool
///
/// The pool pays for the work of trusted identities. It is funded by a share of every charge.
#[utoipa::path(
    get, path = "/api/pool", tag = "Pool", operation_id = "readPool",
    responses(
        (status = 200, description = "the pool", body = PoolBody),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(state: Data<AppState>, request: HttpRequest) -> Result<Json<PoolBody>, Problem> {
    Incoming::without_body(&request)?.identify(&state)?;
    let pool = state.engine.pool.clone();
    let status = state.run(async move { pool.status().await }).await?;
    written(PoolBody::try_from(&status)).map(Json)
}
