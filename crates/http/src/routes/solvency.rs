//! What is owed, and what is held.

use crate::credentials::Incoming;
use crate::problem::Problem;
use crate::state::AppState;
use crate::wire::SolvencyBody;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

/// Read what is owed and held
///
/// What the server owes its customers, by kind, and what its Lightning wallet holds, as it was found out some minutes ago at most. What the
/// operator has promised to the pool at the first start counts as owed, although it need not be in the wallet.
#[utoipa::path(
    get, path = "/api/solvency", tag = "Pool", operation_id = "readSolvency",
    responses((status = 200, description = "what is owed and held", body = SolvencyBody))
)]
pub(crate) async fn read(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Incoming::without_body(&request)?.identify(&state)?;
    let reconciliation = state.engine.reconciliation.clone();
    let found = state.run(async move { reconciliation.solvency().await }).await?;
    Ok(HttpResponse::Ok().json(SolvencyBody::from(found)))
}
