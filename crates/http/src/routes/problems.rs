//! The documentation of problems, which the `type` of a problem links to.

use crate::problem::{Code, Problem, ProblemBody};
use actix_web::web::{Json, Path};
use serde::Serialize;
use utoipa::ToSchema;

/// The documentation of a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemKindBody {
    /// The stable code of the problem.
    code: &'static str,
    /// The HTTP status of the problem.
    status: u16,
    /// The title of the problem.
    title: &'static str,
    /// How to resolve the problem.
    help: &'static str,
}

/// Read a problem type
#[utoipa::path(
    get, path = "/problems/{name}", tag = "Operations", operation_id = "readProblem",
    security(()),
    params(("name" = String, Path, description = "the last path segment of the `type` of a problem")),
    responses(
        (status = 200, description = "the documentation of the problem", body = ProblemKindBody),
        (status = 404, description = "problem type not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(name: Path<String>) -> Result<Json<ProblemKindBody>, Problem> {
    let found = Code::ALL.into_iter().find(|code| code.as_str().replace('_', "-") == *name);
    let (code, status, title, help) =
        found.ok_or_else(|| Problem::new(Code::NotFound, "unknown problem type"))?.facts();
    Ok(Json(ProblemKindBody { code, status, title, help }))
}
