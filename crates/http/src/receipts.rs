//! Receipts of payments for one request: the header `Payment-Receipt` (draft-httpauth-payment, draft-lightning-charge).

use crate::state::AppState;
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, LINK};
use tithe_engine::sessions::PaidRequest;
use tithe_lightning::InvoiceState;
use tithe_paywall::payment::Receipt;

static PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// Adds the receipt of a payment to the response that it has bought. Repetitions get the same one: its time is that of the payment.
pub(crate) async fn add(state: &AppState, paid: &PaidRequest, response: &mut HttpResponse) {
    let (payments, hash) = (state.engine.payments.clone(), paid.payment_hash);
    // The answer is worth more than its receipt.
    let Ok(invoice) = state.run(async move { payments.invoice(hash).await }).await else { return };
    let InvoiceState::Paid { paid_at, .. } = invoice.state else { return };
    let receipt = Receipt {
        reference: *hash.as_bytes(),
        settled_at: paid_at,
        // L402 has no challenges with ids.
        challenge_id: Some(paid.challenge_id().map_or_else(|| paid.session.to_string(), str::to_owned)),
        refund: None,
    };
    if let Ok(value) = HeaderValue::try_from(receipt.encode()) {
        let headers = response.headers_mut();
        headers.insert(PAYMENT_RECEIPT.clone(), value);
        // Where the receipt is a document (RFC 8288, with a relation of the IANA registry).
        if let Ok(link) = HeaderValue::try_from(format!("</api/receipts/{hash}>; rel=\"describedby\"")) {
            headers.append(LINK, link);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}
