//! Answering a metered request: as a whole, or as a stream while the answer is generated. What the responses look like is up to an
//! [`AnswerFormat`].

use crate::limits::StreamSlot;
use crate::problem::Problem;
use crate::state::AppState;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tithe_chat::Delta;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::metered::{Client, Listener};
use tithe_money::Msats;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

/// How long a stream whose request has begun waits for the first piece before it answers; what ends before that is an ordinary response.
pub(crate) const FIRST_PIECE: Duration = Duration::from_secs(10);

/// How long a stream is silent before it says that it is still there, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How much of an answer is sent at once, in bytes, unless it came at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// What most pieces take on the wire, in bytes, so that they are written without growing the buffer.
const PIECE_ON_WIRE: usize = 512;

type Working = JoinHandle<Result<KeyedResponse, Problem>>;

/// What the responses to a request look like.
pub(crate) trait AnswerFormat: Send + 'static {
    /// The response with the whole answer, or to a request that has failed.
    fn whole(&self, keyed: KeyedResponse) -> HttpResponse;

    /// The stream of an answer that is complete before anything of it was sent, or the ordinary response to a request that has failed.
    fn at_once(&mut self, keyed: KeyedResponse) -> HttpResponse;

    /// Headers that a stream begins with. `backend`: the name of the backend that answers, if it is known and the operator has named
    /// several.
    fn begin(&self, _response: &mut HttpResponseBuilder, _backend: Option<&str>) {}

    /// How long a stream waits for its first piece before it begins all the same, once somebody pays for it: [`FIRST_PIECE`], unless nothing
    /// can be known of the answer before. A format that wraps another one has that one's, so there is no default.
    fn patience(&self) -> Duration;

    /// Writes pieces of the answer.
    fn pieces(&mut self, pieces: &[Delta], out: &mut Vec<u8>);

    /// Whether a piece of an answer is sent at all.
    fn is_sent(piece: &Delta) -> bool
    where
        Self: Sized;

    /// What a stream says when there is nothing new; empty if it stays silent.
    fn keep_alive(&self) -> &'static [u8];

    /// What a session was charged for an answer; `None` if it is none, or none was.
    fn charged(&self, _keyed: &KeyedResponse) -> Option<Msats> {
        None
    }

    /// Writes the end of the answer.
    fn end(&mut self, ended: Result<KeyedResponse, Problem>, out: &mut Vec<u8>);
}

/// How a client wants the answer to its request.
pub(crate) enum Answering {
    /// As a whole.
    Whole,
    /// As it is generated.
    Stream(Stream),
}

/// What is sent of a stream.
enum Piece {
    /// A piece of the answer.
    Answer(Delta),
    /// A whole event that is no part of the answer.
    Event(Bytes),
}

/// Sends events that are no part of the answer, between its pieces.
pub(crate) struct Notices(mpsc::WeakUnboundedSender<Piece>);

impl Notices {
    /// Sends an event after what was generated so far, as long as the answer is not complete.
    pub(crate) fn send(&self, event: String) {
        if let Some(sender) = self.0.upgrade() {
            // Nobody listens any more.
            let _gone = sender.send(Piece::Event(event.into()));
        }
    }
}

/// What an answer is streamed from.
pub(crate) struct Stream {
    pieces: mpsc::UnboundedReceiver<Piece>,
    /// Weak, so that the pieces end when the work does.
    notices: mpsc::WeakUnboundedSender<Piece>,
    sent: Arc<AtomicUsize>,
    begun: CancellationToken,
    gone: CancellationToken,
    backend: Arc<OnceLock<Arc<str>>>,
    slot: Option<StreamSlot>,
}

impl Answering {
    /// How the client of a request gets the answer, and the client for the engine. Only the pieces for which `is_sent` holds are sent. A stream counts for its address, and for its
    /// payer; without a payer there is nothing to stream.
    ///
    /// # Errors
    /// A 429 when there are too many streams.
    pub(crate) fn new(
        state: &AppState,
        request: &HttpRequest,
        payer: Option<Uuid>,
        is_stream: bool,
        is_sent: fn(&Delta) -> bool,
    ) -> Result<(Self, Client), Problem> {
        let (begun, gone) = (CancellationToken::new(), CancellationToken::new());
        let sent = Arc::new(AtomicUsize::new(0));
        let backend = Arc::<OnceLock<Arc<str>>>::default();
        if !is_stream {
            return Ok((Self::Whole, Client { listener: None, begun, gone, sent, backend }));
        }
        let slot = payer.map(|payer| state.limits.stream(request, payer)).transpose()?.flatten();
        let (sender, pieces) = mpsc::unbounded_channel();
        let notices = sender.downgrade();
        let listener: Listener = Arc::new(move |piece: &Delta| {
            if is_sent(piece) {
                // Nobody listens any more.
                let _gone = sender.send(Piece::Answer(piece.clone()));
            }
        });
        let stream = Stream {
            pieces,
            notices,
            sent: Arc::clone(&sent),
            begun: begun.clone(),
            gone: gone.clone(),
            backend: Arc::clone(&backend),
            slot,
        };
        Ok((Self::Stream(stream), Client { listener: Some(listener), begun, gone, sent, backend }))
    }

    /// A way to send events that are no part of the answer; `None` if it is not streamed.
    pub(crate) fn notices(&self) -> Option<Notices> {
        match self {
            Self::Whole => None,
            Self::Stream(stream) => Some(Notices(stream.notices.clone())),
        }
    }

    /// Does the work, and answers. The work goes on, and is charged, without its client; the client of a stream is charged for what
    /// it got.
    pub(crate) async fn with(
        self,
        state: &AppState,
        format: impl AnswerFormat,
        work: impl Future<Output = Result<KeyedResponse, Problem>> + Send + 'static,
    ) -> Result<HttpResponse, Problem> {
        let working = state.work.spawn_on(work.in_current_span(), &state.runtime);
        match self {
            Self::Whole => Ok(format.whole(ended(working.await)?)),
            Self::Stream(stream) => stream.from(working, format).await,
        }
    }
}

fn ended(work: Result<Result<KeyedResponse, Problem>, JoinError>) -> Result<KeyedResponse, Problem> {
    work.map_err(|_aborted| Problem::from(EngineError::Internal))?
}

/// No piece has come yet.
struct NothingYet;

/// A stream that is being sent.
struct Sending<F> {
    format: F,
    working: Working,
    pieces: mpsc::UnboundedReceiver<Piece>,
    /// What has been received, and is sent next.
    received: Option<Piece>,
    sent: Arc<AtomicUsize>,
}

impl<F: AnswerFormat> Sending<F> {
    /// What is to be sent next, and whether more may follow.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let mut out = Vec::with_capacity(PIECE_ON_WIRE);
        loop {
            let next = match self.received.take() {
                Some(received) => Some(received),
                None => match tokio::time::timeout(KEEP_ALIVE, self.pieces.recv()).await {
                    Ok(next) => next,
                    Err(_nothing_new) if self.format.keep_alive().is_empty() => continue,
                    Err(_nothing_new) => {
                        return (Bytes::from_static(self.format.keep_alive()), Some(self));
                    }
                },
            };
            let next = match next {
                Some(Piece::Answer(next)) => next,
                Some(Piece::Event(event)) => return (event, Some(self)),
                None => {
                    self.format.end(ended(self.working.await), &mut out);
                    return (out.into(), None);
                }
            };
            // What has come meanwhile goes with it.
            let mut bytes = next.written().len();
            let mut pieces = vec![next];
            while bytes < PIECE_BYTES_MAX
                && let Ok(more) = self.pieces.try_recv()
            {
                match more {
                    Piece::Answer(more) => {
                        bytes = bytes.saturating_add(more.written().len());
                        pieces.push(more);
                    }
                    event @ Piece::Event(_) => {
                        self.received = Some(event);
                        break;
                    }
                }
            }
            self.sent.fetch_add(bytes, Ordering::AcqRel);
            self.format.pieces(&pieces, &mut out);
            if !out.is_empty() {
                return (out.into(), Some(self));
            }
        }
    }
}

impl Stream {
    /// Streams an answer. What ends before anything is generated is an ordinary response.
    async fn from(
        self,
        mut working: Working,
        mut format: impl AnswerFormat,
    ) -> Result<HttpResponse, Problem> {
        let Self { mut pieces, notices: _, sent, begun, gone, backend, slot } = self;
        // If the client leaves, this is dropped.
        let leaving = gone.drop_guard();
        // Until somebody pays, the response may still be a 402.
        let first_piece = format.patience();
        let patience = async {
            begun.cancelled().await;
            tokio::time::sleep(first_piece).await;
        };
        let first = tokio::select! {
            first = pieces.recv() => Ok(first),
            () = patience => Err(NothingYet),
        };
        let first = match first {
            Ok(Some(first)) => Some(first),
            Ok(None) => {
                // The sender is dropped when the work has ended.
                return Ok(format.at_once(ended((&mut working).await)?));
            }
            Err(NothingYet) => None,
        };
        let mut response = event_stream();
        format.begin(&mut response, backend.get().map(|backend| &**backend));
        let sending = Sending { format, working, pieces, received: first, sent };
        let events =
            futures_util::stream::unfold(Some(sending), |sending| async move { Some(sending?.next().await) });
        let held = (leaving, slot);
        let events = futures_util::StreamExt::map(events, move |event| {
            let _held = &held;
            Ok::<_, Infallible>(event)
        });
        Ok(response.streaming(events))
    }
}

/// The beginning of a response that is a stream of events.
pub(crate) fn event_stream() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"));
    response
}
