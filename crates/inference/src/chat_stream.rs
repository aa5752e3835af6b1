//! A streamed completion: converts bytes to server-sent events, and those to the port's stream items.

use crate::failure::BackendFailure;
use crate::sse::{Event, Parser};
use crate::transport::{Answer, BackendText, ErrorKind, Piece};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use std::collections::VecDeque;
use tithe_chat::{Delta, Finish};
use tithe_engine::inference::{ChatEvent, ChatStream, Completion, InferenceError};
use tithe_pricing::Usage;

/// The stream format of one API.
pub(crate) trait Protocol: Send + 'static {
    /// Processes the next event, and returns whether it is the last one. What it adds to the answer goes to the end of `deltas`; empty
    /// pieces are dropped later. `delivered` says whether a part of the answer was delivered.
    ///
    /// # Errors
    /// What the backend reports, or that the event cannot be read. What is in `deltas` is still delivered.
    fn step(
        &mut self,
        event: &Event,
        delivered: bool,
        deltas: &mut VecDeque<Delta>,
    ) -> Result<bool, InferenceError>;

    /// The end of the completion, if it was part of the events so far. Later events only add to it.
    fn ending(&self) -> Option<ChatEvent>;

    /// What the backend has said so far that it used.
    fn used(&self) -> Option<Usage>;
}

struct Reading<P> {
    answer: Answer,
    parser: Parser,
    protocol: P,
    /// What is to be delivered next.
    deltas: VecDeque<Delta>,
    /// What follows it, if that is the end: in order, or not.
    last: Option<Result<(), InferenceError>>,
    /// The bytes that the model has written and that were delivered.
    delivered: usize,
    /// Whether anything was delivered, also what nobody reads.
    has_delivered: bool,
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
            while let Some(delta) = self.deltas.pop_front() {
                if delta.is_empty() {
                    continue;
                }
                let bytes = self.delivered.saturating_add(delta.written().len());
                if bytes > self.answer.text_bytes_max() {
                    return self
                        .cut()
                        .ok_or_else(|| BackendFailure::Wrong("it is longer than the limit").nonsense());
                }
                self.delivered = bytes;
                self.has_delivered = true;
                return Ok(ChatEvent::Delta(delta));
            }
            match self.last.take() {
                Some(Ok(())) => return self.ending().ok_or_else(|| BackendFailure::CutShort.interrupted()),
                Some(Err(failure)) => return Err(failure),
                None => {}
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
            self.last = match self.protocol.step(&event, self.has_delivered, &mut self.deltas) {
                Ok(is_last) => is_last.then_some(Ok(())),
                Err(failure) => Some(Err(failure)),
            };
        }
    }

    fn ending(&self) -> Option<ChatEvent> {
        self.protocol.ending()
    }

    /// The end of an answer that a limit of ours cuts: what was delivered is an answer that is cut at a length. `None` if nothing
    /// was delivered.
    fn cut(&self) -> Option<ChatEvent> {
        self.has_delivered.then_some(ChatEvent::Finished { finish: Finish::Length, usage: None })
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
    let reading = Reading {
        answer,
        parser: Parser::default(),
        protocol,
        deltas: VecDeque::new(),
        last: None,
        delivered: 0,
        has_delivered: false,
        used: None,
        begun: false,
        ended: false,
    };
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
    let Completion { reply, usage } = completion;
    let end = ChatEvent::Finished { finish: reply.finish, usage };
    let deltas = reply.deltas().into_iter().map(ChatEvent::Delta);
    stream::iter(deltas.chain([end]).map(Ok)).boxed()
}
