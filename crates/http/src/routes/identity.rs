//! Logging in, and where one stands.
//!
//! Who asks for a challenge or answers one is about to say who they are: what else they present is not looked at, so that a
//! token that has expired keeps nobody from getting another.

use super::written;
use crate::identity::{self, Asked, X_NOSTR_TOKEN};
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{ChallengeBody, MeBody, VerifiedBody, VerifyBody};
use crate::{body, idempotency};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tithe_engine::idempotency::StoredAnswer;
use tithe_engine::{Answered, EngineError};
use tithe_trust::{InvalidEvent, NostrPubkey, ProvenEvent, check_site};

/// Ask for a challenge
///
/// Sign the nonce within five minutes and send it to `POST /api/identity/verify`. Asking changes nothing, each answer is new,
/// and neither the body nor an `Idempotency-Key` is looked at.
#[utoipa::path(
    post, path = "/api/identity/challenge", tag = "Identity", operation_id = "challenge",
    security(()),
    responses((status = 200, description = "what to sign", body = ChallengeBody))
)]
pub(crate) async fn challenge(state: Data<AppState>) -> HttpResponse {
    let mut response = HttpResponse::Ok().json(ChallengeBody::from(state.engine.identity_challenge()));
    keep_private(&mut response);
    response
}

/// Answer a challenge
///
/// Takes the signed challenge, once, and gives a token for it. The answer has the token as `X-Nostr-Token` too. An event that
/// says what site it is for, in a `relay` or `u` tag, must be for this one.
#[utoipa::path(
    post, path = "/api/identity/verify", tag = "Identity", operation_id = "verify",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key gives the same answer")),
    security(()),
    request_body = VerifyBody,
    responses(
        (
            status = 200, description = "you are who you say", body = VerifiedBody,
            headers(("X-Nostr-Token" = String, description = "the token")),
        ),
        (status = 400, description = "the body or the event is malformed, or `pubkey` is another than the event's; the nonce can still be used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "the event proves nothing here: its id, signature, kind or time is wrong, or its nonce is unknown, expired or used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the idempotency key was used with another request, or its first request still runs", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "the body is larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "too busy, or (outcome_unknown) the same Idempotency-Key tells whether it was done", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verify(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let signed: VerifyBody = body::json(&bytes)?;
    let event = proven(&signed)?;
    let hosts = identity::hosts(&state, &request);
    check_site(&event, &hosts.iter().map(String::as_str).collect::<Vec<_>>())?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?.map(|key| key.of(None));
    let engine = state.engine.clone();
    let work = async move {
        if let Some(answered) = engine.answered(key.as_ref()).await? {
            return Ok(answered);
        }
        // What proves nothing leaves nothing behind, not even its key.
        engine.identity_check(&event)?;
        let login = async { stored(&VerifiedBody::from(&engine.identity_login(&event).await?)) };
        engine.once(key, login).await
    };
    let answered = state.run(work).await?;
    let token = token_in(&answered);
    let mut response = idempotency::respond(answered);
    if let Some(token) = token {
        response.headers_mut().insert(X_NOSTR_TOKEN, token);
    }
    keep_private(&mut response);
    Ok(response)
}

/// Who you are
///
/// Where your identity stands: its trust, and what it may take from the pool today.
#[utoipa::path(
    get, path = "/api/identity/me", tag = "Identity", operation_id = "readMe",
    security(("NostrToken" = []), ("NostrTokenInQuery" = []), ("NostrSignature" = [])),
    responses(
        (status = 200, description = "you", body = MeBody),
        (status = 401, description = "no identity is presented, or one that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn me(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let asking = identity::of(&state, Asked::without_body(&request)).await?;
    let pubkey = asking.ok_or_else(|| {
        Problem::new(Code::IdentityRequired, "this is told only to who presents an identity")
    })?;
    let engine = state.engine.clone();
    let standing = state.run(async move { engine.standing_view(pubkey).await }).await?;
    let mut response = HttpResponse::Ok().json(written(MeBody::try_from(&standing))?);
    keep_private(&mut response);
    Ok(response)
}

/// The event, with all its faults told in the order in which they are mended: its shape, whose it is, its proof.
fn proven(signed: &VerifyBody) -> Result<ProvenEvent, Problem> {
    let named = signed.pubkey.as_deref().map(str::parse::<NostrPubkey>).transpose();
    let named = named.map_err(|wrong| Problem::field("pubkey", wrong))?;
    let event = match ProvenEvent::from_value(&signed.event) {
        Err(InvalidEvent::Field { field, expected }) => {
            return Err(Problem::field(&format!("event.{field}"), format!("it must be {expected}")));
        }
        Err(wrong) if wrong.is_malformed() => return Err(Problem::field("event", wrong)),
        other => other,
    };
    // Of an event that is not proved, only the shape of its key is known.
    let key = signed.event.get("pubkey").and_then(Value::as_str);
    if named.is_some_and(|named| key != Some(named.to_string().as_str())) {
        return Err(Problem::field("pubkey", "this is another key than the event's"));
    }
    event.map_err(|wrong| Problem::new(Code::InvalidIdentity, wrong.to_string()))
}

fn stored(body: &impl Serialize) -> Result<StoredAnswer, EngineError> {
    let body = serde_json::to_string(body).map_err(|_| EngineError::Internal)?;
    Ok(StoredAnswer { status: 200, body })
}

/// The token in an answer, new or replayed.
fn token_in(answered: &Answered) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Token<'a> {
        nostr_token: &'a str,
    }
    let Token { nostr_token } = serde_json::from_str(&answered.answer.body).ok()?;
    HeaderValue::from_str(nostr_token).ok()
}

/// Secrets and standings are nobody's to keep between here and the client.
fn keep_private(response: &mut HttpResponse) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
