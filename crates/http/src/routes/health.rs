//! Whether the server lives, and whether it can serve.

use crate::state::AppState;
use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// How long the checks may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliveBody {
    /// Always `ok`.
    status: &'static str,
}

/// Whether one thing that the server needs is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckBody {
    /// Whether it is there.
    ok: bool,
    /// What is wrong, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

/// Whether the server can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyBody {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// `database`, `migrations`, `wallet` and `price`.
    checks: BTreeMap<&'static str, CheckBody>,
}

/// Whether the server lives
#[utoipa::path(
    get, path = "/healthz", tag = "Operations", operation_id = "alive",
    security(()),
    responses((status = 200, description = "it lives", body = AliveBody))
)]
pub(crate) async fn alive() -> Json<AliveBody> {
    Json(AliveBody { status: "ok" })
}

/// Whether the server can serve
#[utoipa::path(
    get, path = "/readyz", tag = "Operations", operation_id = "ready",
    security(()),
    responses(
        (status = 200, description = "it can serve", body = ReadyBody),
        (status = 503, description = "something that it needs is not there", body = ReadyBody),
    )
)]
pub(crate) async fn ready(state: Data<AppState>) -> HttpResponse {
    let engine = state.engine.clone();
    let checks = state.run_for(PATIENCE, async move { engine.readiness().await }).await.unwrap_or_default();
    let named = |name: &'static str, ok: Option<bool>, problem: &'static str| {
        let ok = ok.unwrap_or(false);
        (name, CheckBody { ok, problem: (!ok).then_some(problem) })
    };
    let checks = BTreeMap::from([
        named("database", checks.database, "the database does not answer, or its tables are not as expected"),
        // The check reads every column that the program expects.
        named("migrations", checks.database, "the database's tables are not known to be up to date"),
        named("wallet", checks.wallet, "the Lightning wallet does not answer"),
        named("price", checks.price, "no current BTC price is known"),
    ]);
    let ready = checks.values().all(|check| check.ok);
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(ReadyBody { status: if ready { "ready" } else { "not_ready" }, checks })
}
