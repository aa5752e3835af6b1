//! The documentation of problems, which the `type` of a problem links to.

use crate::problem::{Code, Problem, ProblemBody};
use crate::wire::ProblemCode;
use actix_web::web::{Json, Path};
use serde::Serialize;
use utoipa::ToSchema;

/// The documentation of a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemKindBody {
    /// The stable code of the problem.
    #[schema(value_type = ProblemCode)]
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
    // As a code is written, and as it is in the `type` of a problem.
    let code = name.replace('-', "_");
    let found = Code::ALL.into_iter().find(|known| known.as_str() == code);
    let found = found.ok_or_else(|| Problem::new(Code::NotFound, "unknown problem type: see /problems"))?;
    Ok(Json(found.into()))
}

/// The documentation of all problems.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemListBody {
    /// The problems, by status.
    problems: Vec<ProblemKindBody>,
}

/// List the problem types
#[utoipa::path(
    get, path = "/problems", tag = "Operations", operation_id = "listProblems",
    security(()),
    responses((status = 200, description = "the documentation of all problems", body = ProblemListBody))
)]
pub(crate) async fn list() -> Json<ProblemListBody> {
    Json(ProblemListBody { problems: Code::ALL.into_iter().map(ProblemKindBody::from).collect() })
}

impl From<Code> for ProblemKindBody {
    fn from(code: Code) -> Self {
        let (code, status, title, help) = code.facts();
        Self { code, status, title, help }
    }
}
