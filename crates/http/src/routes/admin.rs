//! What only the operator may see. The routes exist only if `TITHE_ADMIN_TOKEN` is set.

use super::sessions::private;
use crate::credentials::Incoming;
use crate::problem::{Code, Problem, ProblemBody};
use crate::query::Page;
use crate::state::AppState;
use crate::wire::{InstallBody, InstallListBody};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use tithe_ledger::credits::{Install, InstallId};

/// How many installs a page has.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// List installs
///
/// All installs that have used a credit, in the order of their ids.
#[utoipa::path(
    get, path = "/api/admin/installs", tag = "Administration", operation_id = "listInstalls",
    security(("AdminToken" = [])),
    params(
        ("limit" = Option<u64>, Query, description = "the number of installs on a page; defaults to 100", minimum = 1, maximum = 1000),
        ("after" = Option<Uuid>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "a page of installs", body = InstallListBody),
        (status = 400, description = "invalid limit or cursor", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid admin token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "the server has no admin token", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn installs(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    page(&state, &request).await.map_err(Problem::private)
}

async fn page(state: &AppState, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let incoming = authorized(state, request)?;
    let cursor = ("after", "expected the next of a page, the id of an install");
    let Page { limit, cursor: after } =
        Page::<InstallId>::read_from(incoming.query(), cursor, PAGE_DEFAULT, PAGE_MAX)?;
    let credits = state.engine.credits.clone();
    // One more shows whether there is another page.
    let mut page = state.run(async move { credits.installs(after, limit + 1).await }).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|install| install.id.to_string());
    let installs = page.iter().map(|install| shown(state, install)).collect();
    Ok(private(200, &InstallListBody { installs, next }))
}

/// Read an install
#[utoipa::path(
    get, path = "/api/admin/installs/{installId}", tag = "Administration", operation_id = "readInstall",
    security(("AdminToken" = [])),
    params(("installId" = Uuid, Path, description = "the install's id")),
    responses(
        (status = 200, description = "the install", body = InstallBody),
        (status = 400, description = "malformed install id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid admin token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "the install has never used a credit, or the server has no admin token", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn install(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    one(&state, &request, &id).await.map_err(Problem::private)
}

async fn one(state: &AppState, request: &HttpRequest, id: &str) -> Result<HttpResponse, Problem> {
    authorized(state, request)?;
    let id: InstallId = id.parse().map_err(|wrong| Problem::field("installId", wrong))?;
    let credits = state.engine.credits.clone();
    let found = state.run(async move { credits.install(id).await }).await?;
    let found = found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no install {id}")))?;
    Ok(private(200, &shown(state, &found)))
}

/// A request of the operator's. Other credentials beside the token must be valid.
fn authorized<'a>(state: &AppState, request: &'a HttpRequest) -> Result<Incoming<'a>, Problem> {
    let incoming = Incoming::without_body(request)?.with_bearer();
    incoming.check_operator(state)?;
    incoming.identify(state)?;
    Ok(incoming)
}

fn shown(state: &AppState, install: &Install) -> InstallBody {
    let now = state.engine.ports().clock.now();
    InstallBody::new(install, &state.engine.settings().credits.plans, now)
}
