//! Where an invoice stands.

use super::payment_hash;
use crate::identity;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::InvoiceStateBody;
use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path};

/// Where an invoice stands
///
/// What a client that lost its answer needs: from the payment hash to what it paid for.
#[utoipa::path(
    get, path = "/api/invoices/{paymentHash}", tag = "Invoices", operation_id = "readInvoice",
    params(("paymentHash" = String, Path, description = "64 hex digits")),
    responses(
        (status = 200, description = "the invoice", body = InvoiceStateBody),
        (status = 400, description = "this is no payment hash", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no such invoice", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    hash: Path<String>,
) -> Result<Json<InvoiceStateBody>, Problem> {
    let hash = payment_hash(&hash)?;
    identity::of_reading(&state, &request)?;
    let engine = state.engine.clone();
    let invoice = state.run(async move { engine.invoice_view(hash).await }).await?;
    Ok(Json(InvoiceStateBody::from(&invoice)))
}
