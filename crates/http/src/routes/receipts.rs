//! Receipts of work that was charged.

use super::sessions::private;
use super::written;
use crate::credentials::Incoming;
use crate::payment_proof;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{ReceiptBody, SignedReceiptBody};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::value::RawValue;
use tithe_engine::EngineError;
use tithe_engine::log::chain;
use tithe_engine::receipts::{Receipt, ReceiptOf, ReceiptPayer, ReceiptReader};
use tithe_lightning::PaymentHash;
use tithe_paywall::canonical_json;
use tracing::error;
use uuid::Uuid;

/// Read a receipt
///
/// What a piece of work was charged, signed by the server as a Nostr event, so that it can be shown to others. Whoever may read the work may
/// read its receipt: whoever knows the id of a job; the macaroon of a session, for its requests (a narrowed one for its own); the proof of a
/// payment, for the request that it has bought; the identity or the install, for requests that the pool paid for or a plan includes. The id is
/// that of the job, `requestId`, or the header `X-Generation-Id`; with a proof, also the payment hash, which is the `reference` in
/// `Payment-Receipt`. There is a receipt once something was charged.
#[utoipa::path(
    get, path = "/api/receipts/{id}", tag = "Requests", operation_id = "readReceipt",
    security((), ("Macaroon" = []), ("ApiKey" = []), ("PaymentProof" = []), ("NostrToken" = []), ("NostrSignature" = [])),
    params(
        ("id" = String, Path, description = "the id of a job or of a request, or the payment hash of a paid request"),
        ("X-Install-Id" = Option<String>, Header, description = "the id of the install that sent the request"),
    ),
    responses(
        (status = 200, description = "the receipt", body = SignedReceiptBody),
        (status = 400, description = "malformed id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no such work, it is somebody else's, or nothing was charged for it yet", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let receipt = find(&state, &request, &id).await.map_err(Problem::private)?;
    let receipts = &state.engine.receipts;
    let url = state.public_urls.first().map(ToString::to_string);
    let link = url.as_ref().map(|url| format!("{url}/api/receipts/{}", receipt.id));
    let pubkey = receipts.pubkey().map(|pubkey| pubkey.to_string());
    let body = written(ReceiptBody::new(&receipt, url, pubkey))?;
    let failed = |_| Problem::from(EngineError::Internal);
    let canonical = canonical_json(&body).map_err(|failure| {
        error!(error = chain(&failure), "failed to build the receipt");
        Problem::from(EngineError::Internal)
    })?;
    let event = receipts.sign(&canonical, receipt.at, link.as_deref());
    let event = event.map(RawValue::from_string).transpose().map_err(failed)?;
    Ok(private(200, &SignedReceiptBody { receipt: &body, event }))
}

/// The receipt that the request's credentials open.
async fn find(state: &AppState, request: &HttpRequest, id: &str) -> Result<Receipt, Problem> {
    let incoming = Incoming::without_body(request)?.with_bearer().with_api_key().with_proofs();
    // Credentials must be valid.
    let identity = incoming.identify(state)?.identity;
    let install = incoming.install(state)?.map(|install| install.id);
    let of = read_id(id)?;
    let proof = incoming.proof()?.map(|proof| state.engine.sessions.proven(&proof)).transpose()?;
    let payer = match (proof, incoming.session(state)?) {
        (Some(_), Some(_)) => {
            let detail = "several payers: expected a session's macaroon or a proof of payment";
            return Err(payment_proof::invalid(detail));
        }
        (proof, session) => proof.map(ReceiptPayer::Payment).or(session.map(ReceiptPayer::Session)),
    };
    if let ReceiptOf::Payment(hash) = of {
        check_proof(hash, payer.as_ref())?;
    }
    let (receipts, reader) = (state.engine.receipts.clone(), ReceiptReader { identity, install, payer });
    state.run(async move { receipts.read(of, &reader).await }).await
}

fn read_id(id: &str) -> Result<ReceiptOf, Problem> {
    let work = id.parse::<Uuid>().ok().filter(|work| work.to_string() == id.to_ascii_lowercase());
    work.map(ReceiptOf::Work).or_else(|| id.parse().map(ReceiptOf::Payment).ok()).ok_or_else(|| {
        Problem::field("id", "expected the UUID of a job or a request, or a payment hash of 64 hex digits")
    })
}

/// Requires the proof of the payment that the path names.
fn check_proof(hash: PaymentHash, payer: Option<&ReceiptPayer>) -> Result<(), Problem> {
    match payer {
        Some(ReceiptPayer::Payment(paid)) if paid.payment_hash == hash => Ok(()),
        Some(ReceiptPayer::Payment(paid)) => Err(payment_proof::invalid(format!(
            "proof of another payment: expected {hash}, as in the path, got {}",
            paid.payment_hash
        ))),
        _ => {
            let missing = "missing proof: expected Authorization: L402 <token>:<preimage>, or Payment <credential>, as for the request itself";
            Err(payment_proof::invalid(missing))
        }
    }
}
