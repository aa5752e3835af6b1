//! Creating and reading jobs.

use super::written;
use crate::credentials::Incoming;
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{CreatedJobBody, JobBody, NewJobBody};
use crate::{body, idempotency};
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::jobs::{CreatedJob, NewJobRequest};
use tithe_engine::records::StoredResponse;
use tithe_jobs::JobId;
use tithe_lightning::PaymentHash;

/// Create a job
///
/// Returns an invoice for the evaluation of the request. The request is evaluated once that invoice is paid. If the
/// evaluation accepts the request, `GET /api/jobs/{jobId}` returns the invoice for the work, reduced by the amount that
/// the pool pays for a trusted identity. If the pool pays the full amount, there is no work invoice and the work starts
/// immediately.
#[utoipa::path(
    post, path = "/api/jobs", tag = "Jobs", operation_id = "createJob",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours; use a random UUID")),
    request_body = NewJobBody,
    responses(
        (status = 201, description = "the created job", body = CreatedJobBody),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "idempotency key already used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "body larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many unpaid invoices", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price, wallet unavailable, server too busy or shutting down, or `outcome_unknown`: repeat the request with the same Idempotency-Key to get its result", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let new: NewJobBody = body::json(&bytes)?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    if state.draining.is_cancelled() {
        return Err(Problem::new(Code::ShuttingDown, "the server is shutting down and accepts no new jobs"));
    }
    let incoming = Incoming::with_body(&request, &bytes, new.nostr_token.as_deref())?;
    let caller = incoming.authenticate(&state).await?;
    let key = key.map(|key| key.of(caller));
    let NewJobBody { request, model, max_output_tokens, .. } = new;
    let new = NewJobRequest { request, model, max_output_tokens, identity: caller.identity };
    let jobs = state.engine.jobs.clone();
    let keyed = state.run(async move { jobs.create(new, key, &render).await }).await?;
    Ok(idempotency::respond(keyed))
}

fn render(created: &CreatedJob) -> StoredResponse {
    let body = CreatedJobBody::try_from(created).ok().and_then(|body| serde_json::to_string(&body).ok());
    StoredResponse { status: 201, body: body.unwrap_or_default() }
}

/// Read a job
#[utoipa::path(
    get, path = "/api/jobs/{jobId}", tag = "Jobs", operation_id = "readJob",
    params(("jobId" = String, Path, description = "the job's id")),
    responses(
        (status = 200, description = "the job", body = JobBody),
        (status = 400, description = "malformed job id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "job not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<Json<JobBody>, Problem> {
    let id = job_id(&id)?;
    Incoming::without_body(&request)?.authenticate_read(&state)?;
    let jobs = state.engine.jobs.clone();
    let view = state.run(async move { jobs.view(id).await }).await?;
    written(JobBody::now(&view)).map(Json)
}

/// The path of a job.
pub(super) fn path(id: impl std::fmt::Display) -> String {
    format!("/api/jobs/{id}")
}

/// Parses the job id in a path.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    // Accept only the hyphenated form that the server writes, not braces or URNs.
    text.parse::<JobId>().ok().filter(|id| id.to_string() == text.to_ascii_lowercase()).ok_or_else(|| {
        if text.parse::<PaymentHash>().is_ok() {
            return Problem::field(
                "jobId",
                "expected a job id, got a payment hash: use /api/invoices/{paymentHash}",
            );
        }
        Problem::field("jobId", "expected a UUID")
    })
}
