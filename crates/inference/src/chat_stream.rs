//! A completion as it arrives: bytes to server-sent events to what the port promises.

use crate::failure::BackendFailure;
use crate::sse::{Event, Parser};
use crate::transport::{Answer, ErrorKind};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tithe_engine::inference::{ChatEvent, ChatStream, Completion, InferenceError};

/// What one server-sent event was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// More text; it may be empty.
    Delta(String),
    /// Something that customers don't see.
    Silent,
    /// The last event.
    Last,
    /// An error, as the backend described it.
    Error(Value),
}

/// How one API streams.
pub(crate) trait Protocol: Send + 'static {
    /// Takes in the next event.
    fn step(&mut self, event: &Event) -> Result<Step, InferenceError>;

    /// The end of the completion, if the events so far included it. What may still follow only adds to it.
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
                    // The completion is whole; only what would have followed it is lost.
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

/// What an error means that came in the body of an answer that had begun well.
pub(crate) fn reported(error: &Value, delivered: bool) -> InferenceError {
    let failure = BackendFailure::Reported(crate::transport::excerpt(error.to_string().as_bytes()));
    match ErrorKind::of_object(error) {
        // Whatever it is, a part of the answer is out.
        _ if delivered => failure.interrupted(),
        None => failure.interrupted(),
        Some(ErrorKind::Unavailable) => failure.unavailable(None),
        Some(ErrorKind::Refused) => failure.refused(),
        Some(ErrorKind::Misconfigured) => failure.misconfigured(),
    }
}

/// Streams `answer`. Nothing is read ahead, and dropping the stream drops the answer.
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

/// Streams a completion that came whole although a stream was asked for.
pub(crate) fn of_whole(completion: Completion) -> ChatStream {
    let Completion { text, finish, usage } = completion;
    let delta = (!text.is_empty()).then_some(Ok(ChatEvent::Delta(text)));
    stream::iter(delta.into_iter().chain([Ok(ChatEvent::Finished { finish, usage })])).boxed()
}
