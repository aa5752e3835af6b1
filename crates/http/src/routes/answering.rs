//! Answering a metered request: as a whole, or as a stream of events while the answer is generated.

use crate::idempotency;
use crate::limits::StreamSlot;
use crate::problem::Problem;
use crate::state::AppState;
use crate::wire::AnswerDeltaBody;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::metered::{Client, Listener};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

static X_TITHE_BACKEND: HeaderName = HeaderName::from_static("x-tithe-backend");
static X_TITHE_BALANCE_MSATS: HeaderName = HeaderName::from_static("x-tithe-balance-msats");
static X_TITHE_COST_MSATS: HeaderName = HeaderName::from_static("x-tithe-cost-msats");

/// How long a stream waits for the first text before it answers; what ends before that is an ordinary response.
const FIRST_TEXT: Duration = Duration::from_secs(10);

/// How long a stream is silent before it sends a comment, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How much text one event has at most, unless it came at once.
const DELTA_BYTES_MAX: usize = 16 * 1024;

type Working = JoinHandle<Result<KeyedResponse, Problem>>;

/// How a client wants the answer to its request.
pub(super) enum Answering {
    /// As a whole.
    Whole,
    /// As it is generated.
    Stream(Stream),
}

/// What an answer is streamed from.
pub(super) struct Stream {
    deltas: mpsc::UnboundedReceiver<String>,
    sent: Arc<AtomicUsize>,
    gone: CancellationToken,
    slot: Option<StreamSlot>,
}

impl Answering {
    /// How the client of a request wants the answer, and the client for the engine. A stream counts for its address, and for its
    /// payer; without a payer there is nothing to stream.
    ///
    /// # Errors
    /// A 429 when there are too many streams.
    pub(super) fn new(
        state: &AppState,
        request: &HttpRequest,
        payer: Option<Uuid>,
    ) -> Result<(Self, Client), Problem> {
        let (gone, sent) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        if !wants_stream(request) {
            return Ok((Self::Whole, Client { listener: None, gone, sent }));
        }
        let slot = payer.map(|payer| state.limits.stream(request, payer)).transpose()?.flatten();
        let (sender, deltas) = mpsc::unbounded_channel();
        let listener: Listener = Arc::new(move |delta: &str| {
            // Nobody listens any more.
            let _gone = sender.send(delta.to_owned());
        });
        let stream = Stream { deltas, sent: Arc::clone(&sent), gone: gone.clone(), slot };
        Ok((Self::Stream(stream), Client { listener: Some(listener), gone, sent }))
    }

    /// Answers with a response that was given before.
    pub(super) fn replay(request: &HttpRequest, keyed: KeyedResponse) -> HttpResponse {
        if wants_stream(request) { at_once(keyed) } else { respond(keyed) }
    }

    /// Does the work, and answers. The work goes on, and is charged, without its client; the client of a stream is charged for what
    /// it got.
    pub(super) async fn with(
        self,
        state: &AppState,
        work: impl Future<Output = Result<KeyedResponse, Problem>> + Send + 'static,
    ) -> Result<HttpResponse, Problem> {
        let working = state.work.spawn_on(work.in_current_span(), &state.runtime);
        match self {
            Self::Whole => Ok(respond(ended(working.await)?)),
            Self::Stream(stream) => stream.from(working).await,
        }
    }
}

/// Whether the client prefers events.
fn wants_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|line| line.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

fn ended(work: Result<Result<KeyedResponse, Problem>, JoinError>) -> Result<KeyedResponse, Problem> {
    work.map_err(|_aborted| Problem::from(EngineError::Internal))?
}

impl Stream {
    /// Streams an answer. What ends before any text is generated is an ordinary response.
    async fn from(self, mut working: Working) -> Result<HttpResponse, Problem> {
        let Self { mut deltas, sent, gone, slot } = self;
        // If the client leaves, this is dropped.
        let leaving = gone.drop_guard();
        let first = match tokio::time::timeout(FIRST_TEXT, deltas.recv()).await {
            Ok(Some(first)) => Some(first),
            Ok(None) => {
                // The sender is dropped when the work has ended.
                return Ok(at_once(ended((&mut working).await)?));
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
                    Ok(keyed) if keyed.response.is_deleted() => {
                        event("error", &idempotency::deleted().body_text())
                    }
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
}

/// The stream of an answer that needs no other event; a problem is an ordinary response.
fn at_once(keyed: KeyedResponse) -> HttpResponse {
    if keyed.response.status != 200 {
        return respond(keyed);
    }
    let mut response = event_stream();
    if keyed.replayed {
        response.insert_header(idempotency::REPLAYED);
    }
    response.body(event("done", &keyed.response.body))
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

/// The response, new or replayed, with what its body says of the backend, of the cost and of the balance in headers too.
fn respond(keyed: KeyedResponse) -> HttpResponse {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Facts {
        backend: Option<String>,
        balance_msats: Option<u64>,
        cost_msats: Option<u64>,
    }
    let is_problem = keyed.response.status >= 400;
    let facts: Option<Facts> = serde_json::from_str(&keyed.response.body).ok();
    let mut response = idempotency::respond(keyed);
    let headers = response.headers_mut();
    if let Some(Facts { backend, balance_msats, cost_msats }) = facts {
        let backend = backend.and_then(|backend| HeaderValue::from_str(&backend).ok());
        let facts = [
            (&X_TITHE_BACKEND, backend),
            (&X_TITHE_BALANCE_MSATS, balance_msats.map(HeaderValue::from)),
            (&X_TITHE_COST_MSATS, cost_msats.map(HeaderValue::from)),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                headers.insert(name.clone(), value);
            }
        }
    }
    if is_problem {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    response
}
