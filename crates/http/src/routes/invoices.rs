//! Reading invoices.

use super::{bootstraps, jobs, payment_hash};
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::InvoiceStateBody;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use tithe_bootstrap::BootstrapId;
use tithe_engine::EngineError;
use tithe_jobs::JobId;
use tithe_lightning::{Invoice, Purpose};
use tracing::error;

/// Read an invoice
///
/// Returns the state of the invoice. Its owner also gets the path of the job, session or bootstrap that it pays for, and so recovers a lost response:
/// the identity of the job or bootstrap, or whoever sends `Authorization: Bearer` with its claim token, the session's macaroon or the payment's preimage. The
/// payment hash alone leads to nothing but the state, because every node on the way of the payment knows it.
#[utoipa::path(
    get, path = "/api/invoices/{paymentHash}", tag = "Invoices", operation_id = "readInvoice",
    security((), ("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = []), ("OwnerSecret" = [])),
    params(("paymentHash" = String, Path, description = "the payment hash: 64 hex digits")),
    responses(
        (status = 200, description = "the invoice", body = InvoiceStateBody),
        (status = 400, description = "malformed payment hash", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "invoice not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    hash: Path<String>,
) -> Result<HttpResponse, Problem> {
    let hash = payment_hash(&hash)?;
    let incoming = Incoming::without_body(&request)?.with_bearer();
    let identity = incoming.identify(&state)?.identity;
    let secret = incoming.bearer().map(str::to_owned);
    let payments = state.engine.payments.clone();
    let invoice = state.run(async move { payments.invoice(hash).await }).await?;
    let path = owner_path(&invoice)?;
    let opens = |secret: &str| {
        state.engine.sessions.access(secret).is_ok_and(|access| access.session.0 == invoice.owner.0)
    };
    let is_owner = if secret.as_deref().is_some_and(opens) {
        true
    } else if invoice.purpose == Purpose::Bootstrap {
        let (bootstraps, id) = (state.engine.bootstraps.clone(), BootstrapId(invoice.owner.0));
        state.run(async move { bootstraps.is_owner(id, hash, identity, secret.as_deref()).await }).await?
    } else {
        let (jobs, job) = (state.engine.jobs.clone(), JobId(invoice.owner.0));
        state.run(async move { jobs.is_owner(job, hash, identity, secret.as_deref()).await }).await?
    };
    let body = InvoiceStateBody::new(&invoice, is_owner.then_some(path)).map_err(EngineError::from)?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body))
}

/// The path of the owner of an invoice.
fn owner_path(invoice: &Invoice) -> Result<String, Problem> {
    match invoice.purpose {
        Purpose::JobEval | Purpose::JobWork => Ok(jobs::path(invoice.owner)),
        Purpose::SessionDeposit | Purpose::SessionTopUp | Purpose::SessionTopUpOffer => {
            Ok(format!("/api/sessions/{}", invoice.owner))
        }
        Purpose::Bootstrap => Ok(bootstraps::path(invoice.owner)),
        Purpose::Custom(purpose) => {
            error!(payment_hash = %invoice.payment_hash, %purpose, "an invoice of an unknown purpose is stored");
            Err(EngineError::Internal.into())
        }
    }
}
