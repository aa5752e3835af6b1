//! `Idempotency-Key`.

use crate::problem::{Code, Problem};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tithe_engine::Answered;
use tithe_engine::Settings;
use tithe_engine::idempotency::{IdempotencyId, IdempotencyRequest};
use tithe_trust::NostrPubkey;

const HEADER: &str = "Idempotency-Key";

/// A key that was read, and what it came with. Whose it is must still be said.
pub(crate) struct Key {
    text: String,
    fingerprint: [u8; 32],
    keep: Duration,
    lease: Duration,
}

impl Key {
    /// The key as that of who asks: keys of different identities never meet.
    pub(crate) fn of(self, identity: Option<NostrPubkey>) -> IdempotencyRequest {
        let scope = identity.map_or_else(|| "anonymous".to_owned(), |pubkey| format!("nostr:{pubkey}"));
        let Self { text: key, fingerprint, keep, lease } = self;
        IdempotencyRequest { id: IdempotencyId { scope, key }, fingerprint, keep, lease }
    }
}

/// The request's key, if it has one. Its fingerprint is of method, path and body.
pub(crate) fn read(request: &HttpRequest, body: &[u8], settings: &Settings) -> Result<Option<Key>, Problem> {
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
    Ok(Some(Key {
        text: key.to_owned(),
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
