//! What installs have left.

use super::sessions::private;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::InstallCreditsBody;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;

/// Read the credits of an install
///
/// What the plan of the install includes, and what is left of it. It changes nothing: an install that was never seen has all that its
/// plan includes.
#[utoipa::path(
    get, path = "/api/credits", tag = "Requests", operation_id = "readCredits",
    security(("InstallId" = []), ("InstallId" = [], "Licence" = [])),
    responses(
        (status = 200, description = "the credits", body = InstallCreditsBody),
        (status = 400, description = "missing or malformed `X-Install-Id`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an invalid or revoked licence, or invalid credentials beside it", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    balance(&state, &request).await.map_err(Problem::private)
}

async fn balance(state: &AppState, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let incoming = Incoming::without_body(request)?.with_bearer();
    // Other credentials beside the install must be valid.
    incoming.identify(state)?;
    let session = incoming.session(state)?;
    let install = incoming.required_install(state)?;
    let engine = Arc::clone(&state.engine);
    let reading = async move {
        if let Some(access) = session {
            engine.sessions.check_revoked(&access).await?;
        }
        engine.credits.balance(&install).await
    };
    let found = state.run(reading).await?;
    Ok(private(200, &InstallCreditsBody::from(&found)))
}
