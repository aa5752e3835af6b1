//! What each problem's `type` leads to.

use crate::problem::{Code, Problem, ProblemBody};
use actix_web::web::{Json, Path};
use serde::Serialize;
use utoipa::ToSchema;

/// What a problem means.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemKindBody {
    /// Its stable code.
    code: &'static str,
    /// Its HTTP status.
    status: u16,
    /// What it is.
    title: &'static str,
    /// What to do about it.
    help: &'static str,
}

/// What a problem means
#[utoipa::path(
    get, path = "/problems/{name}", tag = "Operations", operation_id = "readProblem",
    security(()),
    params(("name" = String, Path, description = "the last part of a problem's `type`")),
    responses(
        (status = 200, description = "what it means and what to do", body = ProblemKindBody),
        (status = 404, description = "there is no such problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(name: Path<String>) -> Result<Json<ProblemKindBody>, Problem> {
    let found = Code::ALL.into_iter().find(|code| code.as_str().replace('_', "-") == *name);
    let (code, status, title, help) =
        found.ok_or_else(|| Problem::new(Code::NotFound, "there is no problem of that name"))?.facts();
    Ok(Json(ProblemKindBody { code, status, title, help }))
}
