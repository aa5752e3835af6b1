//! The `Idempotency-Key` header.

use crate::credentials::Caller;
use crate::problem::{Code, Problem};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::records::{IdempotencyId, IdempotencyRequest};

const HEADER: &str = "Idempotency-Key";

/// An idempotency key and the fingerprint of its request, without the caller.
pub(crate) struct Key {
    text: String,
    fingerprint: [u8; 32],
    keep: Duration,
    lease: Duration,
}

impl Key {
    /// Combines the key with the caller.
    pub(crate) fn of(self, caller: Caller) -> IdempotencyRequest {
        let scope = caller.scope();
        let Self { text: key, fingerprint, keep, lease } = self;
        IdempotencyRequest { id: IdempotencyId { scope, key }, fingerprint, keep, lease }
    }
}

/// Reads the idempotency key of the request, if it has one. The fingerprint covers method, path and body.
pub(crate) fn read(request: &HttpRequest, body: &[u8], settings: &Settings) -> Result<Option<Key>, Problem> {
    let mut keys = request.headers().get_all(HEADER);
    let Some(key) = keys.next() else { return Ok(None) };
    let wrong = |detail: &str| Problem::new(Code::InvalidIdempotencyKey, format!("{HEADER}: {detail}"));
    if keys.next().is_some() {
        return Err(wrong("expected one key, got several"));
    }
    let key = key.to_str().ok().filter(|key| !key.contains('\t'));
    let key = key.ok_or_else(|| wrong("expected printable ASCII"))?;
    if key.is_empty() || key.len() > 255 {
        return Err(wrong("expected 1 to 255 characters"));
    }
    let fingerprint = Sha256::new()
        .chain_update(request.method().as_str())
        .chain_update([0])
        .chain_update(request.path())
        .chain_update([0])
        .chain_update(body)
        .finalize()
        .into();
    Ok(Some(Key {
        text: key.to_owned(),
        fingerprint,
        keep: settings.idempotency_keep,
        lease: settings.idempotency_lease,
    }))
}

/// Builds the HTTP response, new or replayed.
pub(crate) fn respond(keyed: KeyedResponse) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(keyed.response.status)
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/json"));
    if keyed.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    response.body(keyed.response.body)
}
