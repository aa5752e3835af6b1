//! `Idempotency-Key`.

use crate::problem::{Code, Problem};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};
use tithe_engine::Answered;
use tithe_engine::Settings;
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRequest};

const HEADER: &str = "Idempotency-Key";

/// The request's key, if it has one. Its fingerprint is of method, path and body.
pub(crate) fn of(
    request: &HttpRequest,
    body: &[u8],
    settings: &Settings,
) -> Result<Option<IdempotencyRequest>, Problem> {
    let mut keys = request.headers().get_all(HEADER);
    let Some(key) = keys.next() else { return Ok(None) };
    let wrong = |detail: &str| Problem::new(Code::InvalidIdempotencyKey, format!("{HEADER}: {detail}"));
    if keys.next().is_some() {
        return Err(wrong("it is given more than once"));
    }
    let key = key.to_str().ok().filter(|key| !key.contains('\t'));
    let key = key.ok_or_else(|| wrong("it has characters other than printable ASCII"))?;
    if key.is_empty() || key.len() > 255 {
        return Err(wrong("it must have 1 to 255 characters"));
    }
    let fingerprint = Sha256::new()
        .chain_update(request.method().as_str())
        .chain_update([0])
        .chain_update(request.path())
        .chain_update([0])
        .chain_update(body)
        .finalize()
        .into();
    Ok(Some(IdempotencyRequest {
        id: IdempotencyId { scope: "anonymous".to_owned(), key: key.to_owned() },
        fingerprint,
        keep: settings.idempotency_keep,
        lease: settings.idempotency_lease,
    }))
}

/// An answer, new or replayed.
pub(crate) fn respond(answered: Answered) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(answered.answer.status)
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/json"));
    if answered.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    response.body(answered.answer.body)
}
