//! Liveness and readiness checks.

use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::ReadyName;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// The time limit for all checks.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server is alive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliveBody {
    /// Always `ok`.
    status: &'static str,
}

/// The result of checking one dependency of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckBody {
    /// Whether the dependency is available.
    ok: bool,
    /// The problem; absent if the dependency is available.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

/// The readiness of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyBody {
    /// `ready` if every check is ok.
    #[schema(value_type = ReadyName)]
    status: &'static str,
    /// The checks by name: `database`, `migrations`, `writes`, `wallet`, `backend`, `price` and `accepting` (not shutting down).
    checks: BTreeMap<&'static str, CheckBody>,
}

/// Check liveness
#[utoipa::path(
    get, path = "/healthz", tag = "Operations", operation_id = "alive",
    security(()),
    responses((status = 200, description = "the server is alive", body = AliveBody))
)]
pub(crate) async fn alive() -> Json<AliveBody> {
    Json(AliveBody { status: "ok" })
}

/// The check that concerns this server alone, and not what all servers need.
const ACCEPTING: &str = "accepting";

/// Check readiness
///
/// With `only=accepting`, the response is about that check alone: a proxy that has several servers should not take all of them out of use
/// because of something that all of them need.
#[utoipa::path(
    get, path = "/readyz", tag = "Operations", operation_id = "ready",
    security(()),
    params(("only" = Option<String>, Query, description = "`accepting`: no other check is made")),
    responses(
        (status = 200, description = "the server is ready", body = ReadyBody),
        (status = 400, description = "`only` is not `accepting`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "a dependency is unavailable", body = ReadyBody),
    )
)]
pub(crate) async fn ready(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let only = match Incoming::without_body(&request)?.query().all("only").next() {
        None => false,
        Some(ACCEPTING) => true,
        Some(other) => return Err(Problem::field("only", format!("expected {ACCEPTING}, got {other:?}"))),
    };
    let engine = state.engine.clone();
    let checks =
        if only { None } else { state.run_for(PATIENCE, async move { engine.readiness().await }).await };
    let checks = checks.unwrap_or_default();
    let named = |name: &'static str, ok: Option<bool>, problem: &'static str| {
        let ok = ok.unwrap_or(false);
        (name, CheckBody { ok, problem: (!ok).then_some(problem) })
    };
    let draining = state.leaving.is_cancelled() || state.draining.is_cancelled();
    let mut checks = BTreeMap::from([
        named("database", checks.database, "the database is unavailable or has an unexpected schema"),
        // The database check reads every column that the program expects.
        named("migrations", checks.database, "the database schema could not be confirmed as current"),
        named("writes", checks.writes, "the database does not take writes"),
        named("wallet", checks.wallet, "the Lightning wallet is unavailable"),
        named("backend", checks.backend, "the AI backend is unavailable or refuses this server"),
        named("price", checks.price, "no current BTC price is available"),
        named(ACCEPTING, Some(!draining), "the server is shutting down"),
    ]);
    checks.retain(|name, _| !only || *name == ACCEPTING);
    let ready = checks.values().all(|check| check.ok);
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header((RETRY_AFTER, "5"));
    }
    response.insert_header((CACHE_CONTROL, "no-store"));
    Ok(response.json(ReadyBody { status: if ready { "ready" } else { "not_ready" }, checks }))
}
