//! Bootstraps: nodes that are bought.

use super::sessions::private;
use super::written;
use crate::credentials::{Caller, Incoming};
use crate::idempotency::Begun;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{BootstrapBody, CreatedBootstrapBody, NewBootstrapBody, PlanBody, PlanListBody};
use crate::{body, idempotency};
use actix_web::http::Method;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use tithe_bootstrap::BootstrapId;
use tithe_engine::bootstraps::{CreatedBootstrap, NewBootstrapRequest};
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::jobs::Origin;
use tithe_engine::records::StoredResponse;

/// List the nodes that are sold
///
/// The plans with their prices. The list is empty if this server sells no nodes.
#[utoipa::path(
    get, path = "/api/bootstrap", tag = "Bootstrap", operation_id = "listPlans",
    responses((status = 200, description = "the plans", body = PlanListBody))
)]
pub(crate) async fn plans(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Incoming::without_body(&request)?.identify(&state)?;
    let plans = state.engine.bootstraps.plans().iter().map(PlanBody::from).collect();
    Ok(HttpResponse::Ok().json(PlanListBody { plans }))
}

/// Buy a node
///
/// Returns an invoice, and a claim token. Once the invoice is paid, the node is made. `GET /api/bootstrap/{bootstrapJobId}` with the
/// claim token then returns its credentials, once. If the node cannot be made, what was paid is refunded.
#[utoipa::path(
    post, path = "/api/bootstrap", tag = "Bootstrap", operation_id = "buyNode",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours; use a random UUID")),
    request_body = NewBootstrapBody,
    responses(
        (
            status = 201, description = "the created bootstrap", body = CreatedBootstrapBody,
            headers(("Location" = String, description = "the path of the bootstrap")),
        ),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "this server sells no nodes", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "idempotency key already used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many unpaid invoices, or too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "wallet or provisioner unavailable, server too busy or shutting down, or `outcome_unknown`: repeat the request with the same Idempotency-Key to get its result", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let new: NewBootstrapBody = body::json(&bytes)?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    state.refuse_while_draining()?;
    let incoming = Incoming::with_body(&request, &bytes, new.nostr_token.as_deref())?;
    let (caller, key) = match idempotency::begin(&incoming, key, &state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(located(keyed)),
    };
    let Caller { identity, signature } = caller;
    let origin = state.limits.client(&request).map(|client| Origin::new(client.to_string()));
    let NewBootstrapBody { plan, ssh_public_key, .. } = new;
    let new = NewBootstrapRequest { plan, ssh_public_key, identity, signature, origin };
    let bootstraps = state.engine.bootstraps.clone();
    let creating = async move { bootstraps.create(new, key.map(|key| *key), &render).await };
    Ok(located(state.run_change(creating).await?))
}

fn render(created: &CreatedBootstrap) -> StoredResponse {
    let body = CreatedBootstrapBody::try_from(created).ok();
    let body = body.and_then(|body| serde_json::to_string(&body).ok()).unwrap_or_default();
    StoredResponse { status: 201, body }
}

/// The response to the creation of a bootstrap, new or replayed, with its path.
fn located(keyed: KeyedResponse) -> HttpResponse {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        bootstrap_job_id: BootstrapId,
    }
    let created = serde_json::from_str(&keyed.response.body).ok();
    let location =
        created.and_then(|Created { bootstrap_job_id }| HeaderValue::from_str(&path(bootstrap_job_id)).ok());
    let mut response = idempotency::respond(keyed);
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Read a bootstrap
///
/// Anybody who knows the id sees the state. With `Authorization: Bearer` and the claim token, the response of a node that is ready has
/// its host, and the first such response also its credentials: they are forgotten before they are sent, so keep them. A HEAD request does not deliver them.
#[utoipa::path(
    get, path = "/api/bootstrap/{bootstrapJobId}", tag = "Bootstrap", operation_id = "readNode",
    security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = []), ("OwnerSecret" = [])),
    params(("bootstrapJobId" = Uuid, Path, description = "the bootstrap's id")),
    responses(
        (status = 200, description = "the bootstrap", body = BootstrapBody),
        (status = 400, description = "malformed id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid claim token or credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "bootstrap not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = bootstrap_id(&id)?;
    let incoming = Incoming::without_body(&request)?.with_bearer();
    incoming.identify(&state)?;
    let token = incoming.claim_token()?.map(str::to_owned);
    let deliver = request.method() == Method::GET;
    let bootstraps = state.engine.bootstraps.clone();
    let reading = async move { bootstraps.view(id, token.as_deref(), deliver).await };
    let view = state.run_change(reading).await?;
    Ok(private(200, &written(BootstrapBody::try_from(&view))?))
}

/// The path of a bootstrap.
pub(super) fn path(id: impl std::fmt::Display) -> String {
    format!("/api/bootstrap/{id}")
}

/// Parses the id in a path: only the hyphenated form that the server writes.
pub(super) fn bootstrap_id(text: &str) -> Result<BootstrapId, Problem> {
    let id = text.parse::<BootstrapId>().ok().filter(|id| id.to_string() == text.to_ascii_lowercase());
    id.ok_or_else(|| Problem::field("bootstrapJobId", "expected a UUID"))
}
