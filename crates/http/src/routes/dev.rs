//! Routes that exist only in development.

use super::payment_hash;
use crate::credentials::Incoming;
use crate::idempotency::Begun;
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{NewTestInvoiceBody, TestInvoiceBody, TestPaymentBody};
use crate::{body, idempotency};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::EngineError;
use tithe_engine::records::StoredResponse;
use tithe_money::Sats;

/// Pay a test invoice
///
/// This endpoint exists only with `TITHE_DEV=1`, and never with a mainnet wallet.
#[utoipa::path(
    post, path = "/dev/stub/pay/{paymentHash}", tag = "Development", operation_id = "payForTest",
    params(
        ("paymentHash" = String, Path, description = "the payment hash: 64 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response"),
    ),
    responses(
        (status = 200, description = "the invoice has been paid", body = TestPaymentBody),
        (status = 400, description = "malformed payment hash", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "invoice not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "invoice already paid or expired", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn pay(
    state: Data<AppState>,
    request: HttpRequest,
    hash: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let hash = payment_hash(&hash)?;
    let payer =
        state.test_payer.clone().ok_or_else(|| Problem::new(Code::NotFound, "test payments are disabled"))?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    let token = body::token(&bytes)?;
    let incoming = Incoming::with_body(&request, &bytes, token.as_deref())?;
    let (caller, key) = match idempotency::begin(&incoming, key, &state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(idempotency::respond(keyed)),
    };
    let engine = state.engine.clone();
    let paying = async move {
        let work = async {
            let preimage = engine.payments.pay_for_test(payer.as_ref(), hash).await?;
            let paid =
                TestPaymentBody { ok: true, payment_hash: hash.to_string(), preimage: preimage.reveal() };
            let body = serde_json::to_string(&paid).map_err(|_| EngineError::Internal)?;
            Ok(StoredResponse { status: 200, body })
        };
        engine.idempotency.once(key.map(|key| *key), caller.signature, work).await
    };
    Ok(idempotency::respond(state.run_change(paying).await?))
}

/// Get a test invoice
///
/// An invoice of the wallet that pays test invoices, so that refunds can be tried. An amount of 0 makes one without an amount, as sessions of
/// the scheme `Payment` want one for what is left. This endpoint exists only with `TITHE_DEV=1`, and never
/// with a mainnet wallet.
#[utoipa::path(
    post, path = "/dev/stub/invoice", tag = "Development", operation_id = "invoiceForTest",
    request_body = NewTestInvoiceBody,
    responses(
        (status = 201, description = "the invoice", body = TestInvoiceBody),
        (status = 400, description = "invalid amount", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "wallet unavailable", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn invoice(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let payer =
        state.test_payer.clone().ok_or_else(|| Problem::new(Code::NotFound, "test payments are disabled"))?;
    let wanted: NewTestInvoiceBody = body::json(&bytes)?;
    Incoming::with_body(&request, &bytes, None)?.identify(&state)?;
    let amount = Sats::new(wanted.amount_sats).map_err(|wrong| Problem::field("amountSats", wrong))?;
    let making = async move { payer.invoice(amount).await.map_err(EngineError::TestPayment) };
    let invoice = state.run_change(making).await?;
    Ok(HttpResponse::Created().json(TestInvoiceBody::from(&invoice)))
}
