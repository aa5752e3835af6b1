//! Sessions: prepaid balances that many requests draw on.

use super::written;
use crate::credentials::{Caller, Incoming};
use crate::idempotency::Begun;
use crate::problem::{Code, Problem, ProblemBody};
use crate::query::Page;
use crate::state::AppState;
use crate::wire::{
    CloseSessionBody, ClosedSessionBody, CreatedSessionBody, DestinationBody, InvoiceBody, NewSessionBody,
    SessionBody, SessionKeyBody, SessionKeyListBody, SessionRequestBody, SessionRequestListBody, TopUpBody,
    ToppedUpBody,
};
use crate::{body, idempotency};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use tithe_engine::EngineError;
use tithe_engine::jobs::Origin;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{CreatedSession, NewSessionRequest, SessionAccess};
use tithe_money::Sats;
use tithe_payouts::Destination;
use tithe_paywall::KeyId;
use tithe_sessions::SessionId;

/// How many requests a page of the history has: few, because each has its answer.
const PAGE_DEFAULT: usize = 10;
const PAGE_MAX: usize = 20;

/// Create a session
///
/// Returns an invoice for the deposit, and a macaroon. Once the invoice is paid, the macaroon opens the session: send it as
/// `Authorization: Bearer`. Anybody can narrow a macaroon (to a time, a model, a budget, a number of requests) without this
/// server, and hand it on. What a session has left is refunded when it is closed, or when nobody has used it for long.
#[utoipa::path(
    post, path = "/api/sessions", tag = "Sessions", operation_id = "createSession",
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours; use a random UUID")),
    request_body = NewSessionBody,
    responses(
        (
            status = 201, description = "the created session", body = CreatedSessionBody,
            headers(("Location" = String, description = "the path of the session")),
        ),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "idempotency key already used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "body larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "too many unpaid invoices, or too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "wallet unavailable, server too busy or shutting down, or `outcome_unknown`: repeat the request with the same Idempotency-Key to get its result", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let new: NewSessionBody = body::json(&bytes)?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    state.refuse_while_draining()?;
    let incoming = Incoming::with_body(&request, &bytes, new.nostr_token.as_deref())?;
    let deposit = amount(new.amount_sats)?;
    let return_to = match new.return_to.as_ref().map(DestinationBody::read).transpose()? {
        Some(Destination::Invoice(_)) => {
            let problem =
                "unsuitable invoice: expected lightningAddress, because the amount is not known yet";
            return Err(Problem::field("returnTo.invoice", problem));
        }
        Some(Destination::Session(_)) => {
            let problem = "unsuitable session: expected lightningAddress, because it may have ended by then";
            return Err(Problem::field("returnTo.sessionId", problem));
        }
        Some(Destination::Address(address)) => Some(address),
        None => None,
    };
    let (caller, key) = match idempotency::begin(&incoming, key, &state).await? {
        Begun::New(caller, key) => (caller, key),
        Begun::Answered(keyed) => return Ok(located(keyed)),
    };
    let Caller { identity, signature } = caller;
    let origin = state.limits.client(&request).map(|client| Origin::new(client.to_string()));
    let webhook = new.webhook_url;
    let new = NewSessionRequest { deposit, identity, webhook, return_to, signature, origin };
    let sessions = state.engine.sessions.clone();
    let creating = async move { sessions.create(new, key.map(|key| *key), &render_created).await };
    Ok(located(state.run_change(creating).await?))
}

fn render_created(created: &CreatedSession) -> StoredResponse {
    let body = CreatedSessionBody::try_from(created).ok().and_then(|body| serde_json::to_string(&body).ok());
    StoredResponse { status: 201, body: body.unwrap_or_default() }
}

/// The response to the creation of a session, new or replayed, with the path of the session.
fn located(keyed: tithe_engine::idempotency::KeyedResponse) -> HttpResponse {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Created {
        session_id: SessionId,
    }
    let created = serde_json::from_str(&keyed.response.body).ok();
    let path = created.map(|Created { session_id }| format!("/api/sessions/{session_id}"));
    let location = path.and_then(|path| HeaderValue::from_str(&path).ok());
    let mut response = idempotency::respond(keyed);
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Read a session
///
/// With any macaroon of the session.
#[utoipa::path(
    get, path = "/api/sessions/{sessionId}", tag = "Sessions", operation_id = "readSession",
    security(("Macaroon" = [])),
    params(("sessionId" = Uuid, Path, description = "the session's id")),
    responses(
        (status = 200, description = "the session", body = SessionBody),
        (status = 400, description = "malformed session id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "session not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let access = access(&state, &request, &id)?;
    let sessions = state.engine.sessions.clone();
    let reading = async move {
        sessions.check_revoked(&access).await?;
        let view = sessions.view(access.session).await?;
        let webhook_secret = sessions.webhook_secret(&view.session).filter(|_| access.is_owner());
        Ok((view, webhook_secret))
    };
    let (view, webhook_secret) = state.run(reading).await?;
    Ok(private(200, &written(SessionBody::new(&view, webhook_secret))?))
}

/// List the requests of a session
///
/// What was done and charged, newest first. Only with the session's own macaroon.
#[utoipa::path(
    get, path = "/api/sessions/{sessionId}/requests", tag = "Sessions", operation_id = "listSessionRequests",
    security(("Macaroon" = [])),
    params(
        ("sessionId" = Uuid, Path, description = "the session's id"),
        ("limit" = Option<u64>, Query, description = "the number of requests on a page; defaults to 10", minimum = 1, maximum = 20),
        ("cursor" = Option<Uuid>, Query, description = "`nextCursor` of the page before"),
    ),
    responses(
        (status = 200, description = "a page of requests", body = SessionRequestListBody),
        (status = 400, description = "invalid id, limit or cursor", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session, or a narrowed one", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn requests(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let session = owner(&state, &request, &id)?;
    let incoming = Incoming::without_body(&request)?;
    let Page { limit, cursor } = Page::read(incoming.query(), PAGE_DEFAULT, PAGE_MAX)?;
    let sessions = state.engine.sessions.clone();
    // One more shows whether there is another page.
    let listing = async move { sessions.requests(session, cursor, limit + 1).await };
    let mut page = state.run(listing).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|request| request.id.to_string());
    let requests = page.iter().map(SessionRequestBody::from).collect();
    Ok(private(200, &SessionRequestListBody { requests, next_cursor }))
}

/// Top a session up
///
/// Returns an invoice; the balance grows when it is paid. One top-up may be unpaid at a time.
#[utoipa::path(
    post, path = "/api/sessions/{sessionId}/topup", tag = "Sessions", operation_id = "topUpSession",
    security(("Macaroon" = [])),
    params(("sessionId" = Uuid, Path, description = "the session's id")),
    request_body = TopUpBody,
    responses(
        (status = 201, description = "the invoice", body = ToppedUpBody),
        (status = 400, description = "invalid amount", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "the deposit is not paid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "session not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "a top-up is unpaid (it is in `pendingTopup`), or the session has ended", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "wallet unavailable, or server too busy", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn top_up(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let access = access(&state, &request, &id)?;
    let asked: TopUpBody = body::json(&bytes)?;
    let amount = amount(asked.amount_sats)?;
    let sessions = state.engine.sessions.clone();
    let invoice = state.run_change(async move { sessions.top_up(&access, amount).await }).await?;
    let pending_topup = written(InvoiceBody::try_from(&invoice))?;
    Ok(private(201, &ToppedUpBody { pending_topup }))
}

/// Close a session
///
/// What the session has left is refunded, to `returnTo` if it is given: an invoice for exactly what is payable then, or without an amount,
/// a Lightning address, or the balance of another session. If that is unsuitable, the session stays open. Requests that are running are finished and charged; what
/// they leave is paid to an address by itself, and to another destination when it is named again then. Closing
/// again changes nothing, but it can name where to pay what is due, also after the session has expired. Only with the session's own
/// macaroon.
#[utoipa::path(
    post, path = "/api/sessions/{sessionId}/close", tag = "Sessions", operation_id = "closeSession",
    security(("Macaroon" = [])),
    params(("sessionId" = Uuid, Path, description = "the session's id")),
    request_body(content = Option<CloseSessionBody>),
    responses(
        (status = 202, description = "the session is closed", body = ClosedSessionBody),
        (status = 400, description = "malformed session id, invalid body or unsuitable invoice; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "the deposit is not paid", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session, or a narrowed one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "session not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the session has expired, or another payment of its refund is in flight", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn close(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let session = owner(&state, &request, &id)?;
    let bytes = body::read(&request, payload).await?;
    let close = if bytes.is_empty() { CloseSessionBody::default() } else { body::json(&bytes)? };
    let return_to = close.return_to.as_ref().map(DestinationBody::read).transpose()?;
    let sessions = state.engine.sessions.clone();
    let (closed, refund) = state.run_change(async move { sessions.close(session, return_to).await }).await?;
    Ok(private(202, &ClosedSessionBody::new(&closed, &refund)))
}

/// List the keys of a session
///
/// Macaroons that were narrowed from the session's own, and used, with what was spent with each. Only with the session's own macaroon.
#[utoipa::path(
    get, path = "/api/sessions/{sessionId}/keys", tag = "Sessions", operation_id = "listSessionKeys",
    security(("Macaroon" = [])),
    params(("sessionId" = Uuid, Path, description = "the session's id")),
    responses(
        (status = 200, description = "the keys", body = SessionKeyListBody),
        (status = 400, description = "malformed session id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session, or a narrowed one", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn keys(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let session = owner(&state, &request, &id)?;
    let sessions = state.engine.sessions.clone();
    let keys = state.run(async move { sessions.keys(session).await }).await?;
    Ok(private(200, &SessionKeyListBody { keys: keys.iter().map(SessionKeyBody::from).collect() }))
}

/// Revoke a key of a session
///
/// Neither the key nor what was narrowed from it is accepted any more. Only with the session's own macaroon.
#[utoipa::path(
    delete, path = "/api/sessions/{sessionId}/keys/{keyId}", tag = "Sessions", operation_id = "revokeSessionKey",
    security(("Macaroon" = [])),
    params(
        ("sessionId" = Uuid, Path, description = "the session's id"),
        ("keyId" = String, Path, description = "the key's id: 32 hex digits"),
    ),
    responses(
        (status = 200, description = "the revoked key", body = SessionKeyBody),
        (status = 400, description = "malformed id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing or invalid macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session, or a narrowed one", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "no such key was used", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    state: Data<AppState>,
    request: HttpRequest,
    ids: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, key) = ids.into_inner();
    let session = owner(&state, &request, &id)?;
    let key: KeyId = key.parse().map_err(|wrong| Problem::field("keyId", wrong))?;
    let sessions = state.engine.sessions.clone();
    let revoked = state.run_change(async move { sessions.revoke_key(session, key).await }).await?;
    Ok(private(200, &SessionKeyBody::from(&revoked)))
}

/// What the macaroon of a request allows, which must be one of this session.
pub(super) fn access(state: &AppState, request: &HttpRequest, id: &str) -> Result<SessionAccess, Problem> {
    let id: SessionId = id
        .parse()
        .ok()
        .filter(|id: &SessionId| id.to_string() == id_text(id))
        .ok_or_else(|| Problem::field("sessionId", "expected a UUID"))?;
    let incoming = Incoming::without_body(request)?.with_bearer();
    // Other credentials beside the macaroon must be valid.
    incoming.identify(state)?;
    let macaroon = incoming.macaroon()?.ok_or_else(|| {
        let detail = "missing macaroon: expected Authorization: Bearer <macaroon>";
        Problem::new(Code::MacaroonRequired, detail)
    })?;
    let access = state.engine.sessions.access(macaroon)?;
    if access.session != id {
        return Err(Problem::new(Code::WrongSession, "the macaroon is of another session"));
    }
    Ok(access)
}

fn id_text(id: &SessionId) -> String {
    id.0.hyphenated().to_string()
}

/// The session whose own macaroon the request has.
fn owner(state: &AppState, request: &HttpRequest, id: &str) -> Result<SessionId, Problem> {
    let access = access(state, request, id)?;
    if access.is_owner() {
        return Ok(access.session);
    }
    let detail = "a narrowed macaroon does not allow this: expected the session's own";
    Err(Problem::new(Code::OwnerRequired, detail))
}

fn amount(sats: u64) -> Result<Sats, Problem> {
    Sats::new(sats).map_err(|wrong| Problem::field("amountSats", wrong))
}

/// A response that only its receiver may know.
pub(super) fn private(status: u16, body: &impl Serialize) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status)
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    match serde_json::to_vec(body) {
        Ok(body) => HttpResponse::build(status)
            .content_type("application/json")
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(body),
        Err(_) => actix_web::ResponseError::error_response(&Problem::from(EngineError::Internal)),
    }
}
