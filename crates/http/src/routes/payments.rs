//! Payments for one request: what became of them, and claiming what is left.

use super::payment_hash;
use super::sessions::private;
use crate::body;
use crate::credentials::Incoming;
use crate::payment_proof;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{DestinationBody, PaymentBody};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::sessions::{PaidRequest, SessionCredential};
use tithe_lightning::PaymentHash;
use tithe_paywall::payment::SessionAction;

/// Read a payment for one request
///
/// Says what became of the payment of an offer: what was paid, what its request was charged, and what is refunded. With the same
/// proof as for the request: the preimage alone is known to every node that has forwarded the payment.
#[utoipa::path(
    get, path = "/api/payments/{paymentHash}", tag = "Requests", operation_id = "readPayment",
    security(("PaymentProof" = [])),
    params(("paymentHash" = String, Path, description = "the payment hash: 64 hex digits")),
    responses(
        (status = 200, description = "the payment", body = PaymentBody),
        (status = 400, description = "malformed payment hash", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or wrong proof, or that of another payment", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no payment for one request with this hash", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    hash: Path<String>,
) -> Result<HttpResponse, Problem> {
    let hash = payment_hash(&hash)?;
    let paid = proven(&state, Incoming::without_body(&request)?, hash)?;
    let sessions = state.engine.sessions.clone();
    let reading = async move {
        match paid {
            Claim::Request(paid) => sessions.payment(&paid).await,
            Claim::Deposit(credential) => sessions.deposit(&credential).await,
        }
    };
    let payment = state.run(reading).await?;
    Ok(private(200, &PaymentBody::from(&payment)))
}

/// Claim the refund of a payment for one request
///
/// Says where what is left is paid: to an invoice for exactly `payableSats`, to a Lightning address, or to the balance of a session. A payment that has not been used is
/// claimed as a whole, and buys nothing any more. It is paid in the background, once; asking again is safe. Another destination can be named
/// as long as nothing is in flight. Without a destination (`{}`), what is left becomes due, and its `payableSats` are known.
#[utoipa::path(
    post, path = "/api/payments/{paymentHash}/refund", tag = "Requests", operation_id = "claimPaymentRefund",
    security(("PaymentProof" = [])),
    params(("paymentHash" = String, Path, description = "the payment hash: 64 hex digits")),
    request_body = DestinationBody,
    responses(
        (status = 202, description = "the payment with its refund, which is paid in the background", body = PaymentBody),
        (status = 400, description = "invalid body or unsuitable invoice; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or wrong proof, or that of another payment", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no payment for one request with this hash", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the request is being done, nothing is due, it is too small to be paid out, or another payment is in flight", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "the payment has not arrived yet, server too busy, or `outcome_unknown`: ask again", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn refund(
    state: Data<AppState>,
    request: HttpRequest,
    hash: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let destination = body::json::<DestinationBody>(&bytes)?.read_optional()?;
    let hash = payment_hash(&hash)?;
    let paid = proven(&state, Incoming::with_body(&request, &bytes, None)?, hash)?;
    let sessions = state.engine.sessions.clone();
    let claiming = async move {
        match paid {
            Claim::Request(paid) => sessions.refund_payment(&paid, destination).await,
            Claim::Deposit(credential) => sessions.refund_deposit(&credential, destination).await,
        }
    };
    Ok(private(202, &PaymentBody::from(&state.run_change(claiming).await?)))
}

/// What claims a payment: the challenge that it was paid for, which never travels over Lightning, with its preimage.
enum Claim {
    /// The payment was for one request.
    Request(PaidRequest),
    /// The payment was a deposit: the credential opens its session.
    Deposit(SessionCredential),
}

/// The proof that a request presents, of the payment that its path names.
fn proven(state: &AppState, incoming: Incoming<'_>, hash: PaymentHash) -> Result<Claim, Problem> {
    let incoming = incoming.with_proofs();
    // Other credentials beside it must be valid.
    incoming.identify(state)?;
    let missing = "missing proof: expected Authorization: L402 <token>:<preimage>, or Payment <credential>, as for the request itself";
    let proof = incoming.proof()?.ok_or_else(|| payment_proof::invalid(missing))?;
    let (claim, of) = if let Some(authorization) = payment_proof::of_session(&proof) {
        let credential = state.engine.sessions.session_credential(authorization)?;
        if !matches!(credential.action(), SessionAction::Open { .. }) {
            let detail = "wrong credential: expected the one that opens the session of the deposit";
            return Err(payment_proof::invalid(detail));
        }
        let of = credential.payment_hash();
        (Claim::Deposit(credential), of)
    } else {
        let paid = state.engine.sessions.proven(&proof)?;
        let of = paid.payment_hash;
        (Claim::Request(paid), of)
    };
    if of == hash {
        return Ok(claim);
    }
    let detail = format!("proof of another payment: expected {hash}, as in the path, got {of}");
    Err(payment_proof::invalid(detail))
}
