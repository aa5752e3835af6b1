//! The `Idempotency-Key` header.

use crate::credentials::{Caller, Incoming};
use crate::decisive_headers::{DecisiveHeaders, decisive_headers};
use crate::problem::{Code, Problem};
use crate::state::AppState;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_engine::idempotency::{KeyedResponse, Seen};
use tithe_engine::records::{IdempotencyId, IdempotencyRequest, KeyOrigin};
use tithe_ledger::credits::InstallId;
use tithe_trust::NostrPubkey;

const HEADER: &str = "Idempotency-Key";

/// The header of a response that was given before.
pub(crate) const REPLAYED: (&str, &str) = ("Idempotency-Replayed", "true");

/// An idempotency key and the fingerprint of its request, without the caller.
pub(crate) struct Key {
    text: String,
    fingerprint: [u8; 32],
    keep: Duration,
    lease: Duration,
    origin: KeyOrigin,
}

/// The shortest key that protects the response to a request without credentials, in characters.
const ANONYMOUS_KEY_MIN: usize = 16;

impl Key {
    /// The keyed request of a caller.
    ///
    /// # Errors
    /// [`Code::WeakIdempotencyKey`]: whoever guesses the key of a caller without credentials reads the response.
    pub(crate) fn of(self, identity: Option<NostrPubkey>) -> Result<IdempotencyRequest, Problem> {
        if let Some(scope) = Caller::scope(identity) {
            return Ok(self.in_scope(scope));
        }
        if self.text.len() < ANONYMOUS_KEY_MIN {
            let detail = format!(
                "{HEADER}: too short: expected at least {ANONYMOUS_KEY_MIN} characters in a request without credentials, \
                 such as a random UUID"
            );
            return Err(Problem::new(Code::WeakIdempotencyKey, detail));
        }
        Ok(self.in_scope("anonymous".to_owned()))
    }

    /// The same key, whose fingerprint covers this, too.
    pub(crate) fn covering(self, more: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(self.fingerprint).chain_update(more);
        Self { fingerprint: hash.finalize().into(), ..self }
    }

    /// The keyed request of whoever is known by `scope`.
    pub(crate) fn in_scope(self, scope: String) -> IdempotencyRequest {
        let Self { text: key, fingerprint, keep, lease, origin } = self;
        IdempotencyRequest { id: IdempotencyId { scope, key }, fingerprint, keep, lease, origin }
    }
}

/// How a request that may carry a key begins.
pub(crate) enum Begun {
    /// It is to be done, for this caller and under this key.
    New(Caller, Option<Box<IdempotencyRequest>>),
    /// It was answered before.
    Answered(KeyedResponse),
}

/// Identifies the caller of a request that changes something. The key is looked up first: the same bytes again get the same
/// response, although their signature has been used.
pub(crate) async fn begin(
    incoming: &Incoming<'_>,
    key: Option<Key>,
    state: &AppState,
) -> Result<Begun, Problem> {
    begin_keyed(incoming, key, state, |key, identity| key.of(identity).map(Some)).await
}

/// Like [`begin`], for a request that an install may pay for. The scope of its keys names everybody who may pay, so that a key that an
/// install has begun is never continued in the name of an identity. A request without a payer has no keys: nothing is done for it.
pub(crate) async fn begin_of_payer(
    incoming: &Incoming<'_>,
    key: Option<Key>,
    install: Option<InstallId>,
    state: &AppState,
) -> Result<Begun, Problem> {
    let of_install = install.map(|install| format!("install:{install}"));
    begin_keyed(incoming, key, state, |key, identity| {
        let payers: Vec<String> = of_install.into_iter().chain(Caller::scope(identity)).collect();
        Ok((!payers.is_empty()).then(|| key.in_scope(payers.join(" "))))
    })
    .await
}

async fn begin_keyed(
    incoming: &Incoming<'_>,
    key: Option<Key>,
    state: &AppState,
    keyed: impl FnOnce(Key, Option<NostrPubkey>) -> Result<Option<IdempotencyRequest>, Problem>,
) -> Result<Begun, Problem> {
    let Some(key) = key else { return Ok(Begun::New(incoming.identify(state)?, None)) };
    let credentials = incoming.credentials(state)?;
    let identities = &state.engine.identities;
    let is_derived = key.origin != KeyOrigin::Client;
    let Some(request) = keyed(key, identities.identify_repeated(&credentials)?)? else {
        return Ok(Begun::New(incoming.identify(state)?, None));
    };
    if is_derived {
        // Each try has credentials of its own.
        return Ok(Begun::New(incoming.identify(state)?, Some(Box::new(request))));
    }
    let (idempotency, asked) = (state.engine.idempotency.clone(), request.clone());
    match state.run(async move { idempotency.seen(&asked).await }).await? {
        Seen::Answered(response) => Ok(Begun::Answered(KeyedResponse::replay(response))),
        // A signature that was fresh when the request began continues it.
        Seen::Begun => {
            let identity = identities.identify_repeated(&credentials)?;
            let signature = identities.identify(&credentials).ok().flatten();
            let signature = Caller::from(signature).signature;
            Ok(Begun::New(Caller { identity, signature }, Some(Box::new(request))))
        }
        Seen::Never => {
            let caller = Caller::from(identities.identify(&credentials)?);
            Ok(Begun::New(caller, Some(Box::new(request))))
        }
    }
}

/// Reads the idempotency key of the request, if it has one. The fingerprint covers method, path, body, and the headers that change
/// the answer.
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
    Ok(Some(Key {
        text: key.to_owned(),
        fingerprint: fingerprint(request, body),
        keep: settings.idempotency_keep,
        lease: settings.idempotency_lease,
        origin: KeyOrigin::Client,
    }))
}

/// The number of the try that OpenAI's and Anthropic's clients are at: 0 is the first. They try again after a time-out with the same body
/// and without an idempotency key.
const RETRY_COUNT: &str = "X-Stainless-Retry-Count";

/// How long an answer is kept, after the time that the work may take, for a client that says how often it has tried: it tries again within
/// seconds.
const RETRY_KEEP: Duration = Duration::from_mins(10);

/// The idempotency key of a request of the AI API: its own, or one that is derived from a request that says how often it was tried. A
/// repetition is the request that has just been done, or still runs, not another one.
pub(crate) fn read_or_derive(
    request: &HttpRequest,
    body: &[u8],
    settings: &Settings,
) -> Result<Option<Key>, Problem> {
    if let Some(key) = read(request, body, settings)? {
        return Ok(Some(key));
    }
    let count = request.headers().get(RETRY_COUNT).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    Ok(count.map(|count| {
        let fingerprint = fingerprint(request, body);
        Key {
            text: format!("retried:{}", hex::encode(fingerprint)),
            fingerprint,
            keep: settings.work_timeout.saturating_add(RETRY_KEEP),
            lease: settings.idempotency_lease,
            origin: if count == 0 { KeyOrigin::FirstTry } else { KeyOrigin::Repetition },
        }
    }))
}

/// The version of Anthropic's API that a request without `anthropic-version` is done with.
const ANTHROPIC_VERSION: &[u8] = b"2023-06-01";

/// Without the headers that change an answer, this is what earlier versions have stored. No path and no header has a line break or a zero
/// byte in it.
fn fingerprint(request: &HttpRequest, body: &[u8]) -> [u8; 32] {
    let is_mounted = request.app_data::<DecisiveHeaders>().is_some();
    let mut headers: Vec<Vec<u8>> = decisive_headers(request)
        .into_iter()
        .filter(|(name, value)| match name.as_str() {
            _ if is_mounted => true,
            "anthropic-version" => value.as_bytes() != ANTHROPIC_VERSION,
            "anthropic-beta" => !value.is_empty(),
            _ => false,
        })
        .map(|(name, value)| [b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat())
        .collect();
    headers.sort_unstable();
    let hash = Sha256::new()
        .chain_update(request.method().as_str())
        .chain_update([0])
        .chain_update(request.path())
        .chain_update(headers.concat())
        .chain_update([0])
        .chain_update(body);
    hash.finalize().into()
}

/// The problem of a request whose response was deleted.
pub(crate) fn deleted() -> Problem {
    Problem::new(
        Code::TextDeleted,
        "the response to the request with this Idempotency-Key was deleted on request",
    )
}

fn respond_deleted() -> HttpResponse {
    let mut response = deleted().error_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Builds the HTTP response, new or replayed. It may hold what only its receiver may know.
pub(crate) fn respond(keyed: KeyedResponse) -> HttpResponse {
    if keyed.response.is_deleted() {
        return respond_deleted();
    }
    let status = actix_web::http::StatusCode::from_u16(keyed.response.status)
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "application/json"));
    response.insert_header((CACHE_CONTROL, "no-store"));
    if keyed.replayed {
        response.insert_header(REPLAYED);
    }
    response.body(keyed.response.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn of(headers: &[(&str, &str)]) -> String {
        let mut request = TestRequest::post().uri("/v1/messages?beta=true");
        for header in headers {
            request = request.append_header(*header);
        }
        hex::encode(fingerprint(&request.to_http_request(), b"{}"))
    }

    #[test]
    fn a_request_that_asks_for_nothing_special_has_the_fingerprint_that_earlier_versions_have_stored() {
        let before = hex::encode(Sha256::digest(b"POST\0/v1/messages\0{}"));
        for headers in [
            &[][..],
            &[("anthropic-version", "2023-06-01")],
            &[("anthropic-dangerous-direct-browser-access", "true"), ("anthropic-beta", "")],
        ] {
            assert_eq!(of(headers), before, "{headers:?}");
        }
    }

    #[test]
    fn on_a_mounted_route_the_named_headers_count_as_they_are_and_no_others() {
        let of = |header: Option<(&str, &str)>| {
            let request = TestRequest::post().uri("/paid/a");
            let request = request.app_data(DecisiveHeaders(vec!["anthropic-version".to_owned()]));
            let request = header.into_iter().fold(request, TestRequest::append_header);
            fingerprint(&request.to_http_request(), b"{}")
        };
        assert_ne!(of(None), of(Some(("anthropic-version", "2023-06-01"))));
        assert_eq!(of(None), of(Some(("anthropic-beta", "a-1"))));
    }

    #[test]
    fn headers_that_change_the_answer_change_the_fingerprint_in_whatever_order_they_come() {
        let all = [
            of(&[]),
            of(&[("anthropic-version", "2023-01-01")]),
            of(&[("anthropic-beta", "a-1")]),
            of(&[("anthropic-beta", "b-1")]),
            of(&[("anthropic-beta", "a-1"), ("anthropic-beta", "b-1")]),
            of(&[("anthropic-beta", "a-1"), ("anthropic-version", "2023-01-01")]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(of(&[("anthropic-beta", "b-1"), ("anthropic-beta", "a-1")]), all[4]);
        assert_eq!(of(&[("anthropic-version", "2023-01-01"), ("Anthropic-Beta", "a-1")]), all[5]);
    }
}
