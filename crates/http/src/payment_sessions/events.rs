//! What only the streams of clients say that pay from a session of the scheme `Payment`: that it must be topped up, that it was not, and
//! the receipt (`draft-lightning-session-00`, "Streaming").

use crate::answering::{AnswerFormat, Notices};
use crate::problem::Problem;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::Delta;
use tithe_clock::Clock;
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::sessions::Replenish;
use tithe_lightning::PaymentHash;
use tithe_money::{Msats, Sats};
use tithe_paywall::payment::{NeedTopUp, StreamReceipt};

/// What ends an event.
const END: &[u8] = b"\n\n";

/// An event. The data is one line.
fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// Asks the client of a stream for a top-up.
pub(super) struct AskForTopUp {
    pub(super) session: PaymentHash,
    pub(super) notices: Notices,
}

impl AskForTopUp {
    fn send(&self, name: &str, balance_spent: Sats, balance_required: Sats) {
        let session_id = *self.session.as_bytes();
        let need = NeedTopUp { session_id, balance_spent, balance_required };
        self.notices.send(event(name, &need.data()));
    }
}

impl Replenish for AskForTopUp {
    fn needed(&self, spent: Sats, required: Sats) {
        self.send(NeedTopUp::EVENT, spent, required);
    }

    fn timed_out(&self, spent: Sats, required: Sats) {
        self.send(NeedTopUp::TIMEOUT_EVENT, spent, required);
    }
}

/// A format whose streams have a receipt before their last event.
pub(super) struct WithReceipt<F> {
    pub(super) format: F,
    pub(super) session: PaymentHash,
    pub(super) clock: Arc<dyn Clock>,
}

impl<F: AnswerFormat> WithReceipt<F> {
    /// The receipt of an answer, as an event.
    fn receipt(&self, keyed: &KeyedResponse) -> Option<String> {
        let spent = self.format.charged(keyed)?.to_sats_rounding_up().ok()?;
        let session_id = *self.session.as_bytes();
        // The unit of the challenge is a request.
        let receipt = StreamReceipt { session_id, completed_at: self.clock.now(), spent, units: 1 };
        Some(event(StreamReceipt::EVENT, &receipt.data()))
    }
}

impl<F: AnswerFormat> AnswerFormat for WithReceipt<F> {
    fn whole(&self, keyed: KeyedResponse) -> HttpResponse {
        self.format.whole(keyed)
    }

    fn at_once(&mut self, keyed: KeyedResponse) -> HttpResponse {
        let receipt = self.receipt(&keyed);
        let response = self.format.at_once(keyed);
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_stream = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let Some(receipt) = receipt.filter(|_| is_stream) else { return response };
        let (response, body) = response.into_parts();
        match body.try_into_bytes() {
            Ok(events) => {
                let mut events = events.to_vec();
                insert_before_last(&mut events, &receipt);
                response.set_body(BoxBody::new(events))
            }
            Err(body) => response.set_body(body),
        }
    }

    fn begin(&self, response: &mut HttpResponseBuilder, backend: Option<&str>) {
        self.format.begin(response, backend);
    }

    fn patience(&self) -> Duration {
        self.format.patience()
    }

    fn pieces(&mut self, pieces: &[Delta], out: &mut Vec<u8>) {
        self.format.pieces(pieces, out);
    }

    fn is_sent(piece: &Delta) -> bool {
        F::is_sent(piece)
    }

    fn keep_alive(&self) -> &'static [u8] {
        self.format.keep_alive()
    }

    fn charged(&self, keyed: &KeyedResponse) -> Option<Msats> {
        self.format.charged(keyed)
    }

    fn end(&mut self, ended: Result<KeyedResponse, Problem>, out: &mut Vec<u8>) {
        let receipt = ended.as_ref().ok().and_then(|keyed| self.receipt(keyed));
        let mut last = Vec::new();
        self.format.end(ended, &mut last);
        if let Some(receipt) = receipt {
            insert_before_last(&mut last, &receipt);
        }
        out.append(&mut last);
    }
}

/// Inserts an event before the last one, such as `[DONE]`: clients stop reading there.
fn insert_before_last(events: &mut Vec<u8>, event: &str) {
    let all = events.strip_suffix(END).unwrap_or(events);
    let at = all.windows(END.len()).rposition(|window| window == END).map_or(0, |at| at + END.len());
    events.splice(at..at, event.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_before_the_last_one() {
        for (events, expected) in [
            ("", "NEW\n\n"),
            ("data: [DONE]\n\n", "NEW\n\ndata: [DONE]\n\n"),
            ("data: 1\n\ndata: 2\n\ndata: [DONE]\n\n", "data: 1\n\ndata: 2\n\nNEW\n\ndata: [DONE]\n\n"),
            (
                "event: a\ndata: 1\n\nevent: b\ndata: 2\n\n",
                "event: a\ndata: 1\n\nNEW\n\nevent: b\ndata: 2\n\n",
            ),
        ] {
            let mut all = events.as_bytes().to_vec();
            insert_before_last(&mut all, "NEW\n\n");
            assert_eq!(String::from_utf8(all).unwrap(), expected);
        }
    }
}
