//! Creating and reading jobs.

use super::written;
use crate::identity::{self, Asked};
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{CreatedJobBody, JobBody, NewJobBody};
use crate::{body, idempotency};
use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::idempotency::StoredAnswer;
use tithe_engine::{CreatedJob, NewJobRequest};
use tithe_jobs::JobId;
use tithe_lightning::PaymentHash;

/// Ask for work
///
/// Answers with an invoice for the evaluation of the request. Once it is paid, the request is evaluated; once that accepts
/// it, `GET /api/jobs/{jobId}` shows the invoice for the work, less what the pool pays for an identity that is trusted. When
/// the pool pays it all there is none, and the work begins.
#[utoipa::path(
    post, path = "/api/jobs", tag = "Jobs", operation_id = "createJob",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key gives the same answer, for 24 hours; best a random UUID")),
    request_body = NewJobBody,
    responses(
        (status = 201, description = "the job", body = CreatedJobBody),
        (status = 400, description = "the request cannot be taken; the detail names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the idempotency key was used with another request, or its first request still runs", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "the body is larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many invoices wait to be paid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price, no wallet, too busy, about to stop, or (outcome_unknown) the same Idempotency-Key tells whether it was done", body = ProblemBody, content_type = "application/problem+json"),
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
        return Err(Problem::new(Code::ShuttingDown, "the server is about to stop and takes on no new jobs"));
    }
    let asked = Asked { request: &request, body: &bytes, token: new.nostr_token.as_deref() };
    let identity = identity::of(&state, asked).await?;
    let key = key.map(|key| key.of(identity));
    let NewJobBody { request, model, max_output_tokens, .. } = new;
    let new = NewJobRequest { request, model, max_output_tokens, identity };
    let engine = state.engine.clone();
    let answered = state.run(async move { engine.job_create(new, key, &render).await }).await?;
    Ok(idempotency::respond(answered))
}

fn render(created: &CreatedJob) -> StoredAnswer {
    let body = CreatedJobBody::try_from(created).ok().and_then(|body| serde_json::to_string(&body).ok());
    StoredAnswer { status: 201, body: body.unwrap_or_default() }
}

/// Read a job
#[utoipa::path(
    get, path = "/api/jobs/{jobId}", tag = "Jobs", operation_id = "readJob",
    params(("jobId" = String, Path, description = "the job's id")),
    responses(
        (status = 200, description = "the job", body = JobBody),
        (status = 400, description = "this is no job id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no such job", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<Json<JobBody>, Problem> {
    let id = job_id(&id)?;
    identity::of_reading(&state, &request)?;
    let engine = state.engine.clone();
    let view = state.run(async move { engine.job_view(id).await }).await?;
    written(JobBody::now(&view)).map(Json)
}

/// The job id in a path.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    // Only the form that we write: not braces, not URNs.
    text.parse::<JobId>().ok().filter(|id| id.to_string() == text.to_ascii_lowercase()).ok_or_else(|| {
        if text.parse::<PaymentHash>().is_ok() {
            return Problem::field("jobId", "this is a payment hash; see /api/invoices/{paymentHash}");
        }
        Problem::field("jobId", "this is no job id: job ids are UUIDs")
    })
}
