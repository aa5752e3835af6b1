//! Where refunds are paid.

use super::bootstraps::bootstrap_id;
use super::jobs::job_id;
use super::sessions::private;
use crate::body;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{DestinationBody, RefundBody, RefundRequestedBody};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::payouts::RefundView;
use tithe_payouts::Destination;
use tithe_trust::NostrPubkey;

/// Claim the refund of a job
///
/// Says where the refund of an ended job is paid: to an invoice for exactly `payableSats`, to a Lightning address, or to the balance of a session. With
/// `Authorization: Bearer` and the job's claim token, or with the job's own identity. It is paid in the background, once; asking again is
/// safe. Another destination can be named as long as nothing is in flight.
#[utoipa::path(
    post, path = "/api/jobs/{jobId}/refund", tag = "Jobs", operation_id = "claimJobRefund",
    security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = []), ("OwnerSecret" = [])),
    params(("jobId" = Uuid, Path, description = "the job's id")),
    request_body = DestinationBody,
    responses(
        (status = 202, description = "the refund, which is paid in the background", body = RefundRequestedBody),
        (status = 400, description = "invalid body or unsuitable invoice; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid claim token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "job not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "nothing is due, it is too small to be paid out, or another payment is in flight", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "server too busy, or `outcome_unknown`: ask again", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn of_job(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let Claim { destination, identity, token } = claim(&state, &request, payload).await?;
    let id = job_id(&id)?;
    let jobs = state.engine.jobs.clone();
    let claiming = async move { jobs.refund(id, identity, token.as_deref(), destination).await };
    Ok(claimed(&state.run_change(claiming).await?))
}

/// Claim the refund of a bootstrap
///
/// Says where the refund of a bootstrap that has failed is paid, as for a job.
#[utoipa::path(
    post, path = "/api/bootstrap/{bootstrapJobId}/refund", tag = "Bootstrap", operation_id = "claimNodeRefund",
    security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = []), ("OwnerSecret" = [])),
    params(("bootstrapJobId" = Uuid, Path, description = "the bootstrap's id")),
    request_body = DestinationBody,
    responses(
        (status = 202, description = "the refund, which is paid in the background", body = RefundRequestedBody),
        (status = 400, description = "invalid body or unsuitable invoice; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid claim token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "bootstrap not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "nothing is due, it is too small to be paid out, or another payment is in flight", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "server too busy, or `outcome_unknown`: ask again", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn of_bootstrap(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let Claim { destination, identity, token } = claim(&state, &request, payload).await?;
    let id = bootstrap_id(&id)?;
    let bootstraps = state.engine.bootstraps.clone();
    let claiming = async move { bootstraps.refund(id, identity, token.as_deref(), destination).await };
    Ok(claimed(&state.run_change(claiming).await?))
}

/// Who claims a refund, and where it is paid.
struct Claim {
    destination: Destination,
    identity: Option<NostrPubkey>,
    token: Option<String>,
}

async fn claim(state: &AppState, request: &HttpRequest, payload: Payload) -> Result<Claim, Problem> {
    let bytes = body::read(request, payload).await?;
    let destination = body::json::<DestinationBody>(&bytes)?.read()?;
    let incoming = Incoming::with_body(request, &bytes, None)?.with_bearer();
    // Naming the same destination again changes nothing, so the signature of a signed request need not be used up.
    let identity = incoming.identify(state)?.identity;
    let token = incoming.claim_token()?.map(str::to_owned);
    Ok(Claim { destination, identity, token })
}

fn claimed(refund: &RefundView) -> HttpResponse {
    private(202, &RefundRequestedBody { refund: RefundBody::from(refund) })
}
