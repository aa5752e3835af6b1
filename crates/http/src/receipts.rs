//! Receipts of payments for one request: the header `Payment-Receipt` (draft-httpauth-payment, draft-lightning-charge).

use crate::state::AppState;
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, LINK};
use tithe_engine::sessions::{PaidRequest, SessionCredential};
use tithe_lightning::{InvoiceState, PaymentHash};
use tithe_paywall::payment::{Receipt, Refund};

static PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// Adds the receipt of a payment to the response that it has bought. Repetitions get the same one: its time is that of the payment.
pub(crate) async fn add(state: &AppState, paid: &PaidRequest, response: &mut HttpResponse) {
    let hash = paid.payment_hash;
    // L402 has no challenges with ids.
    let challenge = paid.challenge_id().map_or_else(|| paid.session.to_string(), str::to_owned);
    if write(state, hash, (challenge, None), response).await {
        // Where the receipt is a document (RFC 8288, with a relation of the IANA registry).
        if let Ok(link) = HeaderValue::try_from(format!("</api/receipts/{hash}>; rel=\"describedby\"")) {
            response.headers_mut().append(LINK, link);
        }
    }
}

/// Adds the receipt of a session of the scheme `Payment` (`draft-lightning-session-00`, "Receipt"): its reference is the session, and its
/// time that of the deposit. `refund`: what became of the rest, if the session was closed.
pub(crate) async fn add_of_session(
    state: &AppState,
    credential: &SessionCredential,
    refund: Option<Refund>,
    response: &mut HttpResponse,
) {
    write(state, credential.payment_hash(), (credential.challenge_id().to_owned(), refund), response).await;
}

/// Writes the receipt of a payment, and returns whether there is one.
async fn write(
    state: &AppState,
    hash: PaymentHash,
    (challenge_id, refund): (String, Option<Refund>),
    response: &mut HttpResponse,
) -> bool {
    let payments = state.engine.payments.clone();
    // The answer is worth more than its receipt.
    let Ok(invoice) = state.run(async move { payments.invoice(hash).await }).await else { return false };
    let InvoiceState::Paid { paid_at, .. } = invoice.state else { return false };
    let (reference, challenge_id) = (*hash.as_bytes(), Some(challenge_id));
    let receipt = Receipt { reference, settled_at: paid_at, challenge_id, refund };
    let Ok(value) = HeaderValue::try_from(receipt.encode()) else { return false };
    let headers = response.headers_mut();
    headers.insert(PAYMENT_RECEIPT.clone(), value);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    true
}
