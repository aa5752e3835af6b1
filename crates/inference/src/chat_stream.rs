//! A streamed completion: converts bytes to server-sent events, and those to the port's stream items.

use crate::failure::BackendFailure;
use crate::sse::{Event, Parser};
use crate::transport::{Answer, BackendText, ErrorKind, Piece};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tithe_engine::inference::{ChatEvent, ChatStream, Completion, FinishReason, InferenceError};
use tithe_pricing::Usage;

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

    /// What the backend has said so far that it used.
    fn used(&self) -> Option<Usage>;
}

struct Reading<P> {
    answer: Answer,
    parser: Parser,
    protocol: P,
    /// The bytes of text that were delivered.
    delivered: usize,
    /// What was last passed on of what the backend has used.
    used: Option<Usage>,
    /// Whether any event has come.
    begun: bool,
    ended: bool,
}

impl<P: Protocol> Reading<P> {
    async fn next(&mut self) -> Result<ChatEvent, InferenceError> {
        loop {
            if let Some(used) = self.protocol.used().filter(|used| self.used != Some(*used)) {
                self.used = Some(used);
                return Ok(ChatEvent::Used(used));
            }
            let Some(event) = self.parser.next() else {
                if std::mem::take(&mut self.ended) {
                    let cut_short = if self.begun {
                        BackendFailure::CutShort.interrupted()
                    } else {
                        BackendFailure::Wrong("it has no events").nonsense()
                    };
                    return self.ending().ok_or(cut_short);
                }
                let too_long = |_| BackendFailure::Wrong("an event is longer than any of a chat").nonsense();
                match self.answer.piece().await {
                    Ok(Piece::Bytes(piece)) => self.parser.push(&piece).map_err(too_long)?,
                    Ok(Piece::End) => {
                        self.parser.finish().map_err(too_long)?;
                        self.ended = true;
                    }
                    // The completion is complete; only trailing events are lost.
                    Ok(Piece::OutOfTime) => {
                        return self.ending().or_else(|| self.cut()).ok_or(InferenceError::TimedOut);
                    }
                    Err(error) => return self.ending().ok_or(error),
                }
                continue;
            };
            self.begun = true;
            match self.protocol.step(&event)? {
                Step::Delta(text) if !text.is_empty() => {
                    if self.delivered.saturating_add(text.len()) > self.answer.text_bytes_max() {
                        return self
                            .cut()
                            .ok_or_else(|| BackendFailure::Wrong("it is longer than the limit").nonsense());
                    }
                    self.delivered = self.delivered.saturating_add(text.len());
                    return Ok(ChatEvent::Delta(text));
                }
                Step::Delta(_) | Step::Silent => {}
                Step::Last => return self.ending().ok_or_else(|| BackendFailure::CutShort.interrupted()),
                Step::Error(error) => return Err(reported(&error, self.delivered > 0)),
            }
        }
    }

    fn ending(&self) -> Option<ChatEvent> {
        self.protocol.ending()
    }

    /// The end of an answer that a limit of ours cuts: what was delivered is an answer that is cut at a length. `None` if nothing
    /// was delivered.
    fn cut(&self) -> Option<ChatEvent> {
        (self.delivered > 0).then_some(ChatEvent::Finished { finish: FinishReason::Length, usage: None })
    }
}

/// Classifies an error that was reported in the body of a successful response.
pub(crate) fn reported(error: &Value, delivered: bool) -> InferenceError {
    let failure = BackendFailure::Reported(BackendText::of_error(error));
    match ErrorKind::of_object(error) {
        // Whatever the cause, a part of the response was already delivered. The transport worked: sending the request again would
        // only cost the same again.
        _ if delivered => failure.failed(),
        None => failure.failed(),
        Some(ErrorKind::Unavailable) => failure.unavailable(None),
        Some(ErrorKind::Failed) => failure.failed(),
        Some(ErrorKind::Refused) => failure.refused(),
        Some(ErrorKind::Misconfigured) => failure.misconfigured(),
    }
}

/// Streams `answer`. Nothing is read ahead, and dropping the stream drops the response.
pub(crate) fn read(answer: Answer, protocol: impl Protocol) -> ChatStream {
    let parser = Parser::default();
    let reading = Reading { answer, parser, protocol, delivered: 0, used: None, begun: false, ended: false };
    stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let event = reading.next().await;
        let more = matches!(event, Ok(ChatEvent::Delta(_) | ChatEvent::Used(_)));
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
