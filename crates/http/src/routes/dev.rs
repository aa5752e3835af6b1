//! Routes for tests and first steps.

use super::payment_hash;
use crate::identity::{self, Asked};
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::TestPaymentBody;
use crate::{body, idempotency};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tithe_engine::idempotency::StoredAnswer;

/// Pay an invoice with play money
///
/// Exists only with `TITHE_DEV=1`, and never with a wallet on mainnet.
#[utoipa::path(
    post, path = "/dev/stub/pay/{paymentHash}", tag = "Development", operation_id = "payForTest",
    params(
        ("paymentHash" = String, Path, description = "64 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key gives the same answer"),
    ),
    responses(
        (status = 200, description = "it is paid", body = TestPaymentBody),
        (status = 400, description = "this is no payment hash", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no such invoice", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "it was paid before, or has expired", body = ProblemBody, content_type = "application/problem+json"),
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
        state.test_payer.clone().ok_or_else(|| Problem::new(Code::NotFound, "there is no test payer"))?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    let asked = Asked { request: &request, body: &bytes, token: None };
    let identity = identity::of(&state, asked).await?;
    let key = key.map(|key| key.of(identity));
    let engine = state.engine.clone();
    let paying = async move {
        let work = async {
            let preimage = engine.invoice_pay_for_test(payer.as_ref(), hash).await?;
            let paid =
                TestPaymentBody { ok: true, payment_hash: hash.to_string(), preimage: preimage.reveal() };
            let body = serde_json::to_string(&paid).map_err(|_| tithe_engine::EngineError::Internal)?;
            Ok(StoredAnswer { status: 200, body })
        };
        engine.once(key, work).await
    };
    Ok(idempotency::respond(state.run(paying).await?))
}
