//! A streamed completion: converts bytes to server-sent events, and those to the port's stream items.

use crate::failure::BackendFailure;
use crate::sse::{Event, Parser};
use crate::transport::{Answer, ErrorKind};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tithe_engine::inference::{ChatEvent, ChatStream, Completion, InferenceError};

/// The content of one server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Generated text; it may be empty.
    Delta(String),
    /// Content that customers do not see.
    Silent,
    /// The last event.
    Last,
    /// An error, as described by the backend.
    Error(Value),
}

/// The stream format of one API.
pub(crate) trait Protocol: Send + 'static {
    /// Processes the next event.
    fn step(&mut self, event: &Event) -> Result<Step, InferenceError>;

    /// The end of the completion, if it was part of the events so far. Later events only add to it.
    fn ending(&self) -> Option<ChatEvent>;
}

struct Reading<P> {
    answer: Answer,
    parser: Parser,
    protocol: P,
    delivered: bool,
}

impl<P: Protocol> Reading<P> {
    async fn next(&mut self) -> Result<ChatEvent, InferenceError> {
        loop {
            let Some(event) = self.parser.next() else {
                match self.answer.piece().await {
                    Ok(Some(piece)) => self.parser.push(&piece).map_err(|_| {
                        BackendFailure::Wrong("an event is longer than any of a chat").nonsense()
                    })?,
                    Ok(None) => return self.ending().ok_or_else(|| BackendFailure::CutShort.interrupted()),
                    // The completion is complete; only trailing events are lost.
                    Err(error) => return self.ending().ok_or(error),
                }
                continue;
            };
            match self.protocol.step(&event)? {
                Step::Delta(text) if !text.is_empty() => {
                    self.delivered = true;
                    return Ok(ChatEvent::Delta(text));
                }
                Step::Delta(_) | Step::Silent => {}
                Step::Last => return self.ending().ok_or_else(|| BackendFailure::CutShort.interrupted()),
                Step::Error(error) => return Err(reported(&error, self.delivered)),
            }
        }
    }

    fn ending(&self) -> Option<ChatEvent> {
        self.protocol.ending()
    }
}

/// Classifies an error that was reported in the body of a successful response.
pub(crate) fn reported(error: &Value, delivered: bool) -> InferenceError {
    let failure = BackendFailure::Reported(crate::transport::excerpt(error.to_string().as_bytes()));
    match ErrorKind::of_object(error) {
        // Whatever the cause, a part of the response was already delivered.
        _ if delivered => failure.interrupted(),
        None => failure.interrupted(),
        Some(ErrorKind::Unavailable) => failure.unavailable(None),
        Some(ErrorKind::Refused) => failure.refused(),
        Some(ErrorKind::Misconfigured) => failure.misconfigured(),
    }
}

/// Streams `answer`. Nothing is read ahead, and dropping the stream drops the response.
pub(crate) fn read(answer: Answer, protocol: impl Protocol) -> ChatStream {
    let reading = Reading { answer, parser: Parser::default(), protocol, delivered: false };
    stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let event = reading.next().await;
        let more = matches!(event, Ok(ChatEvent::Delta(_)));
        Some((event, more.then_some(reading)))
    })
    .boxed()
}

/// Streams a completion that arrived as a whole although a stream was requested.
pub(crate) fn of_whole(completion: Completion) -> ChatStream {
    let Completion { text, finish, usage } = completion;
    let delta = (!text.is_empty()).then_some(Ok(ChatEvent::Delta(text)));
    stream::iter(delta.into_iter().chain([Ok(ChatEvent::Finished { finish, usage })])).boxed()
}
