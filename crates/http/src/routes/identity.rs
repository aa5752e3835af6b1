//! Logging in, and reading the identity of the caller.
//!
//! Challenges and logins ignore credentials, so that a client with an expired token can get a new one.

use super::written;
use crate::credentials::{self, Incoming, X_NOSTR_TOKEN};
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{ChallengeBody, MeBody, VerifiedBody, VerifyBody};
use crate::{body, idempotency};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::Value;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::identities::{LoggedIn, LoginRequest};
use tithe_engine::records::StoredResponse;
use tithe_trust::{InvalidEvent, NostrPubkey, VerifiedEvent};

/// Create a login challenge
///
/// Sign the nonce within five minutes and send it to `POST /api/identity/verify`. This endpoint changes no state and
/// returns a new nonce each time. It ignores the body and any `Idempotency-Key`.
#[utoipa::path(
    post, path = "/api/identity/challenge", tag = "Identity", operation_id = "challenge",
    security(()),
    responses((status = 200, description = "the challenge to sign", body = ChallengeBody))
)]
pub(crate) async fn challenge(state: Data<AppState>) -> HttpResponse {
    let mut response = HttpResponse::Ok().json(ChallengeBody::from(state.engine.identities.challenge()));
    keep_private(&mut response);
    response
}

/// Log in with a signed challenge
///
/// Exchanges a signed challenge for a token. A challenge can be used once. The response also carries the token in its
/// `X-Nostr-Token` header. If the event names a site in a `relay` or `u` tag, that must be this server;
/// on a server with a public URL, it must name one.
#[utoipa::path(
    post, path = "/api/identity/verify", tag = "Identity", operation_id = "verify",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response")),
    security(()),
    request_body = VerifyBody,
    responses(
        (
            status = 200, description = "logged in", body = VerifiedBody,
            headers(("X-Nostr-Token" = String, description = "the token")),
        ),
        (status = 400, description = "malformed body or event, or `pubkey` differs from the key of the event; the nonce remains valid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid event (id, signature, kind, time or site), or the nonce is unknown, expired or already used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "idempotency key already used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "body larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "server too busy, or `outcome_unknown`: repeat the request with the same Idempotency-Key to get its result", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verify(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let signed: VerifyBody = body::json(&bytes)?;
    let event = verified(&signed)?;
    let hosts = credentials::hosts(&state, &request);
    let idempotency = idempotency::read(&request, &bytes, state.engine.settings())?;
    // Only whoever has signed the event can repeat the request.
    let idempotency = idempotency.map(|key| key.in_scope(format!("login:{}", event.pubkey())));
    let identities = state.engine.identities.clone();
    let site_required = !state.public_urls.is_empty();
    let login = LoginRequest { event, hosts, site_required, idempotency };
    let keyed = state.run_change(async move { identities.login(login, render).await }).await?;
    let token = token_in(&keyed);
    let mut response = idempotency::respond(keyed);
    if let Some(token) = token {
        response.headers_mut().insert(X_NOSTR_TOKEN, token);
    }
    keep_private(&mut response);
    Ok(response)
}

/// Read your identity
///
/// Returns the identity of the caller, its trust, and its free-tier budget.
#[utoipa::path(
    get, path = "/api/identity/me", tag = "Identity", operation_id = "readMe",
    security(("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = [])),
    responses(
        (status = 200, description = "the identity of the caller", body = MeBody),
        (status = 401, description = "missing or invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn me(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = Incoming::without_body(&request)?.identify(&state)?;
    let pubkey = caller
        .identity
        .ok_or_else(|| Problem::new(Code::IdentityRequired, "this endpoint requires an identity"))?;
    let identities = state.engine.identities.clone();
    let view = state.run(async move { identities.view(pubkey).await }).await?;
    let mut response = HttpResponse::Ok().json(written(MeBody::try_from(&view))?);
    keep_private(&mut response);
    Ok(response)
}

/// Verifies the event. Errors are reported in the order in which a client fixes them: shape, key, signature.
fn verified(signed: &VerifyBody) -> Result<VerifiedEvent, Problem> {
    let named = signed.pubkey.as_deref().map(str::parse::<NostrPubkey>).transpose();
    let named = named.map_err(|wrong| Problem::field("pubkey", wrong))?;
    let event = match VerifiedEvent::from_value(&signed.event) {
        Err(InvalidEvent::Field { field, expected }) => {
            return Err(Problem::field(&format!("event.{field}"), format!("expected {expected}")));
        }
        Err(wrong) if wrong.is_malformed() => return Err(Problem::field("event", wrong)),
        other => other,
    };
    // The event may be unverified here: only the shape of its key has been checked.
    let key = signed.event.get("pubkey").and_then(Value::as_str);
    if named.is_some_and(|named| key != Some(named.to_string().as_str())) {
        return Err(Problem::field("pubkey", "expected the public key of the event, got a different key"));
    }
    event.map_err(|wrong| Problem::new(Code::InvalidIdentity, wrong.to_string()))
}

fn render(login: &LoggedIn) -> Result<StoredResponse, EngineError> {
    let body = serde_json::to_string(&VerifiedBody::from(login)).map_err(|_| EngineError::Internal)?;
    Ok(StoredResponse { status: 200, body })
}

/// The token in a response, new or replayed.
fn token_in(keyed: &KeyedResponse) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Token<'a> {
        nostr_token: &'a str,
    }
    let Token { nostr_token } = serde_json::from_str(&keyed.response.body).ok()?;
    HeaderValue::from_str(nostr_token).ok()
}

/// Prevents caches between the server and the client from storing the response.
fn keep_private(response: &mut HttpResponse) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
