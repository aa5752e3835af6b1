//! Requests that are charged to a session.

use super::sessions::{access, refuse_while_draining};
use crate::problem::{Code, Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::{AnswerDeltaBody, SessionReplyBody, SessionWorkBody};
use crate::{body, idempotency};
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, NewWork, RenderRequest};
use tithe_sessions::RequestState;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

static X_TITHE_BALANCE_MSATS: HeaderName = HeaderName::from_static("x-tithe-balance-msats");
static X_TITHE_COST_MSATS: HeaderName = HeaderName::from_static("x-tithe-cost-msats");

/// How long a stream waits for the first text before it answers; what ends before that is an ordinary response.
const FIRST_TEXT: Duration = Duration::from_secs(10);

/// How long a stream is silent before it sends a comment, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How much text one event has at most, unless it came at once.
const DELTA_BYTES_MAX: usize = 16 * 1024;

/// Have a request done
///
/// The most that the request can cost is held, the request is evaluated and done, and what it really cost is charged. Without
/// `maxOutputTokens`, the answer is as long as the balance allows. A request that fails costs nothing; one that the evaluation
/// rejects costs the evaluation.
///
/// With `Accept: text/event-stream`, the answer comes as it is generated: `event: delta` with `{"text"}`, and at the end `event: done`
/// with the body of the other response, or `event: error` with a problem. What ends before any text is an ordinary response. If the client of a stream leaves, it is charged for what it
/// got. Any other request is finished and charged even if its client leaves: repeat it with its `Idempotency-Key`, or find the answer
/// in the session's history.
#[utoipa::path(
    post, path = "/api/sessions/{sessionId}/request", tag = "Sessions", operation_id = "requestOfSession",
    security(("Macaroon" = [])),
    params(
        ("sessionId" = Uuid, Path, description = "the session's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "repeating the request with the same key returns the same response for 24 hours, and is charged once"),
    ),
    request_body = SessionWorkBody,
    responses(
        (
            status = 200, description = "the answer", body = SessionReplyBody,
            headers(
                ("X-Tithe-Balance-Msats" = u64, description = "the balance, in msats"),
                ("X-Tithe-Cost-Msats" = u64, description = "what the request cost, in msats"),
            ),
        ),
        (status = 400, description = "invalid body; `detail` names the field", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "missing, invalid or revoked macaroon", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "the balance, or a limit of the macaroon, is too low (`requiredSats`, `balanceSats`, `topUp`), or the deposit is not paid; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "the macaroon of another session, or not for this model", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "session not found", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the session has ended; or the idempotency key was used with a different request, or its first request is still in progress", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the evaluation rejected the request (`reason`), and only the evaluation was charged; or the backend refused it, and nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "the work failed; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no BTC price, AI backend unavailable, server too busy or shutting down; nothing was charged", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn request(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::read(&request, payload).await?;
    let access = access(&state, &request, &id)?;
    let asked: SessionWorkBody = body::json(&bytes)?;
    let key = idempotency::read(&request, &bytes, state.engine.settings())?;
    let key = key.map(|key| key.in_scope(access.scope()));
    refuse_while_draining(&state)?;
    let streams = wants_stream(&request);
    let slot = if streams { state.limits.stream(&request, access.session.0)? } else { None };
    let (sender, receiver) = mpsc::unbounded_channel();
    let gone = CancellationToken::new();
    let SessionWorkBody { request: text, model, max_output_tokens } = asked;
    let listener = streams.then(|| -> tithe_engine::sessions::Listener {
        Arc::new(move |delta: &str| {
            // Nobody listens any more.
            let _gone = sender.send(delta.to_owned());
        })
    });
    let sent = Arc::new(AtomicUsize::new(0));
    let new = NewWork {
        access,
        request: text,
        model,
        max_output_tokens,
        listener,
        gone: gone.clone(),
        sent: Arc::clone(&sent),
    };
    let render = Arc::new(Reply { http_request_id: crate::request_id::current() });
    let sessions = state.engine.sessions.clone();
    // The work goes on, and is charged, without its client.
    let working = async move { sessions.request(new, key, render).await };
    let working = state.work.spawn_on(working.in_current_span(), &state.runtime);
    if !streams {
        return Ok(respond(ended(working.await)?));
    }
    stream(working, receiver, sent, gone, slot).await
}

/// Whether the client prefers events.
fn wants_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|line| line.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

fn ended(
    work: Result<Result<KeyedResponse, EngineError>, tokio::task::JoinError>,
) -> Result<KeyedResponse, Problem> {
    Ok(work.map_err(|_aborted| Problem::from(EngineError::Internal))??)
}

type Working = JoinHandle<Result<KeyedResponse, EngineError>>;

/// Streams an answer. What ends before any text is generated is an ordinary response.
async fn stream(
    mut working: Working,
    mut deltas: mpsc::UnboundedReceiver<String>,
    sent: Arc<AtomicUsize>,
    gone: CancellationToken,
    slot: Option<crate::limits::StreamSlot>,
) -> Result<HttpResponse, Problem> {
    // If the client leaves, this is dropped.
    let leaving = gone.drop_guard();
    let first = match tokio::time::timeout(FIRST_TEXT, deltas.recv()).await {
        Ok(Some(first)) => Some(first),
        Ok(None) => {
            // The sender is dropped when the work has ended.
            let keyed = ended((&mut working).await)?;
            if keyed.response.status != 200 {
                return Ok(respond(keyed));
            }
            let text = event("done", &keyed.response.body);
            return Ok(event_stream().body(text));
        }
        Err(_nothing_yet) => None,
    };
    let events = futures_util::stream::unfold(Some((working, deltas, first)), move |state| {
        let sent = Arc::clone(&sent);
        async move {
            let (working, mut deltas, first) = state?;
            let next = match first {
                Some(first) => Some(first),
                None => match tokio::time::timeout(KEEP_ALIVE, deltas.recv()).await {
                    Ok(next) => next,
                    Err(_nothing_new) => {
                        let comment = Bytes::from_static(b": still here\n\n");
                        return Some((comment, Some((working, deltas, None))));
                    }
                },
            };
            if let Some(mut text) = next {
                // What has come meanwhile goes with it.
                while text.len() < DELTA_BYTES_MAX
                    && let Ok(more) = deltas.try_recv()
                {
                    text.push_str(&more);
                }
                sent.fetch_add(text.len(), Ordering::AcqRel);
                let data = serde_json::to_string(&AnswerDeltaBody { text }).unwrap_or_default();
                return Some((event("delta", &data), Some((working, deltas, None))));
            }
            let last = match ended(working.await) {
                Ok(keyed) if keyed.response.status == 200 => event("done", &keyed.response.body),
                Ok(keyed) => event("error", &keyed.response.body),
                Err(problem) => event("error", &problem.body_text()),
            };
            Some((last, None))
        }
    });
    let held = (leaving, slot);
    let events = futures_util::StreamExt::map(events, move |event| {
        let _held = &held;
        Ok::<_, Infallible>(event)
    });
    Ok(event_stream().streaming(events))
}

fn event_stream() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"));
    response
}

/// An event. JSON contains no raw line breaks, so the data fits on one line.
fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// The response, new or replayed, with what it cost and what the session has left in headers.
fn respond(keyed: KeyedResponse) -> HttpResponse {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sums {
        balance_msats: u64,
        cost_msats: u64,
    }
    let is_problem = keyed.response.status >= 400;
    let sums: Option<Sums> = serde_json::from_str(&keyed.response.body).ok();
    let mut response = idempotency::respond(keyed);
    let headers = response.headers_mut();
    if let Some(Sums { balance_msats, cost_msats }) = sums {
        headers.insert(X_TITHE_BALANCE_MSATS.clone(), balance_msats.into());
        headers.insert(X_TITHE_COST_MSATS.clone(), cost_msats.into());
    }
    if is_problem {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    response
}

/// Renders the response to a request.
#[derive(Debug)]
struct Reply {
    http_request_id: String,
}

impl RenderRequest for Reply {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        if let RequestState::Rejected { reason, ended } = &finished.request.state {
            let problem =
                Problem::new(Code::RequestRejected, format!("the request was not accepted: {reason}"))
                    .with_extension("reason", reason.clone())
                    .with_extension("costMsats", ended.cost.get())
                    .with_extension("debitedMsats", ended.charged.get())
                    .with_extension("balanceMsats", finished.balance.get());
            let body = problem.body_text_of(&self.http_request_id);
            return StoredResponse { status: problem.status_code().as_u16(), body };
        }
        let body = SessionReplyBody::of(finished).ok().flatten();
        let body = body.and_then(|body| serde_json::to_string(&body).ok()).unwrap_or_default();
        StoredResponse { status: 200, body }
    }
}
