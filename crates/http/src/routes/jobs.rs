//! Creating and reading jobs.

use super::written;
use crate::credentials::{Caller, Incoming};
use crate::idempotency::Begun;
use crate::limits::StreamSlot;
use crate::problem::{Code, Problem, ProblemBody};
use crate::query::Page;
use crate::shared_text::{Parts, TextKey};
use crate::state::AppState;
use crate::wire::{CreatedJobBody, JobBody, JobListBody, JobSummaryBody, NewJobBody};
use crate::{body, idempotency};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::jobs::{CreatedJob, JobCursor, JobUpdate, JobView, NewJobRequest, Origin};
use tithe_engine::records::StoredResponse;
use tithe_jobs::JobId;
use tithe_lightning::PaymentHash;

/// Create a job
///
/// Returns an invoice for the evaluation of the request. The request is evaluated once that invoice is paid. If the
/// evaluation accepts the request, `GET /api/jobs/{jobId}` returns the invoice for the work, reduced by the amount that
/// the pool pays for a trusted identity. If the pool pays the full amount, there is no work invoice and the work starts
/// immediately. With `"payment": "held"`, that invoice is a hold invoice if the server has them: the payment is only taken when
/// the work is done.
#[utoipa::path(
    post, path = "/api/jobs", tag = "Jobs", operation_id = "createJob",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours; use a random UUID")),
    request_body = NewJobBody,
    responses(
        (
            status = 201, description = "the created job", body = CreatedJobBody,
            headers(("Location" = String, description = "the path of the job")),
        ),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "idempotency key already used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "body larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many unpaid invoices, or too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price, wallet or AI backend unavailable, server too busy or shutting down, or `outcome_unknown`: repeat the request with the same Idempotency-Key to get its result", body = ProblemBody, content_type = "application/problem+json"),
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
    let (caller, key) = match idempotency::begin(&incoming, key, &state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(created(keyed)),
    };
    let NewJobBody { request: text, model, max_output_tokens, payment, .. } = new;
    let origin = state.limits.client(&request).map(|client| Origin::new(client.to_string()));
    let Caller { identity, signature } = caller;
    let payment = payment.unwrap_or_default();
    let new = NewJobRequest { request: text, model, max_output_tokens, payment, identity, signature, origin };
    let jobs = state.engine.jobs.clone();
    let keyed = state.run_change(async move { jobs.create(new, key.map(|key| *key), &render).await }).await?;
    Ok(created(keyed))
}

fn render(created: &CreatedJob) -> StoredResponse {
    let body = CreatedJobBody::try_from(created).ok().and_then(|body| serde_json::to_string(&body).ok());
    StoredResponse { status: 201, body: body.unwrap_or_default() }
}

/// The response to the creation of a job, new or replayed, with the path of the job.
fn created(keyed: KeyedResponse) -> HttpResponse {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        job_id: JobId,
    }
    let created = serde_json::from_str(&keyed.response.body).ok();
    let location = created.and_then(|Created { job_id }| HeaderValue::from_str(&path(job_id)).ok());
    let mut response = idempotency::respond(keyed);
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Read a job
///
/// With `Prefer: wait=20`, the response comes at the next change of the job's state, or after that many seconds (at most 60).
#[utoipa::path(
    get, path = "/api/jobs/{jobId}", tag = "Jobs", operation_id = "readJob",
    params(
        ("jobId" = Uuid, Path, description = "the job's id"),
        ("Prefer" = Option<String>, Header, description = "`wait=20` waits for the next change, at most 20 seconds"),
    ),
    responses(
        (
            status = 200, description = "the job", body = JobBody,
            headers(("Preference-Applied" = String, description = "`wait=20` if the preference was followed")),
        ),
        (status = 400, description = "malformed job id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "job not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&id)?;
    Incoming::without_body(&request)?.identify(&state)?;
    let wait = wait_wanted(&request);
    let jobs = state.engine.jobs.clone();
    let mut view = state.run(async move { jobs.view(id).await }).await?;
    if let Some(wait) = wait.filter(|_| !view.job.state.name().is_terminal()) {
        let slot = state.limits.stream(&request, id.0)?;
        view = changed(&state, view, wait, slot).await?;
    }
    let mut response = HttpResponse::Ok();
    response.content_type("application/json").insert_header((CACHE_CONTROL, "no-store"));
    if let Some(wait) = wait {
        response.insert_header(("Preference-Applied", format!("wait={}", wait.as_secs())));
    }
    let render = || {
        let body = written(JobBody::now(&view))?;
        serde_json::to_vec(&body).map_err(|_| Problem::from(EngineError::Internal))
    };
    if !view.job.state.name().is_terminal() {
        return Ok(response.body(render()?));
    }
    let (revision, tier, refund) = (view.job.revision, view.tier.as_str(), view.refund.updated_at);
    let text_deleted_at = view.job.text_deleted_at;
    let key = TextKey { kind: "job", job: id, revision, tier, refund, text_deleted_at };
    Ok(response.body(Parts(state.shared.get(key, render)?)))
}

/// The longest wait for a change, in seconds.
const WAIT_MAX: u64 = 60;

/// The wait that the client prefers (RFC 7240, section 4.3).
fn wait_wanted(request: &HttpRequest) -> Option<Duration> {
    let lines = request.headers().get_all("Prefer").filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split([',', ';']));
    let wait = preferences.find_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok());
    wait.map(|seconds: u64| Duration::from_secs(seconds.min(WAIT_MAX)))
}

/// Waits until the job has changed since `view`, and returns the job as it is then. The slot is taken for as long as somebody waits,
/// also when the client has gone.
async fn changed(
    state: &AppState,
    view: JobView,
    wait: Duration,
    slot: Option<StreamSlot>,
) -> Result<JobView, Problem> {
    let (id, revision) = (view.job.id, view.job.revision);
    let (jobs, again) = (state.engine.jobs.clone(), state.engine.jobs.clone());
    let stopping = state.stopping.clone();
    let waiting = state.runtime.spawn(async move {
        let _slot = slot;
        let mut follower = jobs.follow(id, JobCursor { revision, ..JobCursor::default() }).await?;
        let next_step = async {
            while let Some((_, update)) = follower.next().await? {
                if matches!(update, JobUpdate::Step { .. }) {
                    break;
                }
            }
            Ok::<_, EngineError>(())
        };
        tokio::select! {
            () = stopping.cancelled() => Ok(()),
            stepped = tokio::time::timeout(wait, next_step) => stepped.unwrap_or(Ok(())),
        }
    });
    waiting.await.map_err(|_| Problem::from(EngineError::Internal))??;
    state.run(async move { again.view(id).await }).await
}

/// List your jobs
///
/// The jobs of the caller's identity, newest first, without their texts.
#[utoipa::path(
    get, path = "/api/jobs", tag = "Jobs", operation_id = "listJobs",
    security(("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = [])),
    params(
        ("limit" = Option<u64>, Query, description = "the number of jobs on a page; defaults to 20", minimum = 1, maximum = 100),
        ("cursor" = Option<Uuid>, Query, description = "`nextCursor` of the page before"),
        ("nostr_token" = Option<String>, Query, description = "the token of an identity"),
    ),
    responses(
        (status = 200, description = "a page of jobs", body = JobListBody),
        (status = 400, description = "invalid limit or cursor", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let incoming = Incoming::without_body(&request)?;
    let Page { limit, cursor } = Page::read(incoming.query(), PAGE_DEFAULT, PAGE_MAX)?;
    let caller = incoming.identify(&state)?;
    let identity = caller
        .identity
        .ok_or_else(|| Problem::new(Code::IdentityRequired, "this endpoint requires an identity"))?;
    let jobs = state.engine.jobs.clone();
    // One more shows whether there is another page.
    let mut page = state.run(async move { jobs.of_identity(identity, cursor, limit + 1).await }).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|listing| listing.job.id.to_string());
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(JobListBody { jobs: page.iter().map(JobSummaryBody::from).collect(), next_cursor: next }))
}

/// How many jobs a page has.
const PAGE_DEFAULT: usize = 20;
const PAGE_MAX: usize = 100;

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
