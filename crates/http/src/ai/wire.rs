//! Answers in the words of one API.

use super::answered::Answered;
use crate::answer_headers::{X_GENERATION_ID, X_TITHE_BACKEND, X_TITHE_BALANCE_MSATS, X_TITHE_COST_MSATS};
use crate::answering::{AnswerFormat, FIRST_PIECE, event_stream};
use crate::idempotency;
use crate::problem::Problem;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use std::time::Duration;
use tithe_chat::Delta;
use tithe_engine::EngineError;
use tithe_engine::idempotency::KeyedResponse;
use tithe_money::Msats;
use uuid::Uuid;

/// What is known of an answer before it begins.
#[derive(Debug, Clone)]
pub(crate) struct AnswerMeta {
    /// The id of the request.
    pub(crate) id: Uuid,
    /// When it began, in seconds since 1970.
    pub(crate) created: i64,
}

/// How one API writes an answer. A stream is [`Self::begin`], [`Self::delta`]s, and [`Self::finish`] or [`Self::fail`].
pub(crate) trait Wire: Send + 'static {
    /// Writes a whole answer.
    fn whole(&self, answered: &Answered, out: &mut Vec<u8>);

    /// Writes the beginning of a stream.
    fn begin(&mut self, meta: &AnswerMeta, out: &mut Vec<u8>);

    /// Writes a piece of the answer.
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>);

    /// Writes the end of the answer.
    fn finish(&mut self, answered: &Answered, out: &mut Vec<u8>);

    /// Writes that the answer cannot be completed.
    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>);

    /// What keeps a silent stream open.
    fn keep_alive(&self) -> &'static [u8];
}

/// The responses to a request of the AI API.
pub(super) struct AiAnswer {
    wire: Box<dyn Wire>,
    meta: AnswerMeta,
    has_begun: bool,
}

impl AiAnswer {
    pub(super) const fn new(wire: Box<dyn Wire>, meta: AnswerMeta) -> Self {
        Self { wire, meta, has_begun: false }
    }

    /// Writes all of a stream.
    fn write_whole(&mut self, answered: &Answered, out: &mut Vec<u8>) {
        self.meta.id = answered.id;
        self.meta.created = answered.created;
        self.begin_once(out);
        for delta in answered.reply().deltas() {
            self.wire.delta(&delta, out);
        }
        self.wire.finish(answered, out);
    }

    fn begin_once(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.wire.begin(&self.meta, out);
        }
    }
}

/// What a stored response is: an answer, or a problem.
fn answered(keyed: &KeyedResponse) -> Result<Answered, Problem> {
    if keyed.response.is_deleted() {
        return Err(idempotency::deleted());
    }
    Answered::read(&keyed.response).ok_or_else(|| Problem::from(EngineError::WorkFailed))
}

/// What an answer says of itself in headers.
fn describe(response: &mut HttpResponseBuilder, answered: &Answered, keyed: &KeyedResponse) {
    response.insert_header((X_GENERATION_ID.clone(), answered.id.to_string()));
    response.insert_header((X_TITHE_COST_MSATS.clone(), HeaderValue::from(answered.charge().msats.get())));
    if let Some(balance) = answered.balance {
        response.insert_header((X_TITHE_BALANCE_MSATS.clone(), HeaderValue::from(balance.get())));
    }
    if let Some(backend) = &answered.backend {
        response.insert_header((X_TITHE_BACKEND.clone(), backend.as_str()));
    }
    if keyed.replayed {
        response.insert_header(idempotency::REPLAYED);
    }
}

impl AnswerFormat for AiAnswer {
    fn whole(&self, keyed: KeyedResponse) -> HttpResponse {
        let answered = match answered(&keyed) {
            Ok(answered) => answered,
            Err(problem) => return problem.private().error_response(),
        };
        let mut response = HttpResponse::Ok();
        response.insert_header((CONTENT_TYPE, "application/json"));
        response.insert_header((CACHE_CONTROL, "no-store"));
        describe(&mut response, &answered, &keyed);
        let mut out = Vec::new();
        self.wire.whole(&answered, &mut out);
        response.body(out)
    }

    fn at_once(&mut self, keyed: KeyedResponse) -> HttpResponse {
        let answered = match answered(&keyed) {
            Ok(answered) => answered,
            Err(problem) => return problem.private().error_response(),
        };
        let mut response = event_stream();
        describe(&mut response, &answered, &keyed);
        let mut out = Vec::new();
        self.write_whole(&answered, &mut out);
        response.body(out)
    }

    fn begin(&self, response: &mut HttpResponseBuilder, backend: Option<&str>) {
        if let Some(backend) = backend {
            response.insert_header((X_TITHE_BACKEND.clone(), backend));
        }
        response.insert_header((X_GENERATION_ID.clone(), self.meta.id.to_string()));
    }

    fn patience(&self) -> Duration {
        FIRST_PIECE
    }

    fn pieces(&mut self, pieces: &[Delta], out: &mut Vec<u8>) {
        self.begin_once(out);
        for piece in pieces {
            self.wire.delta(piece, out);
        }
    }

    fn is_sent(_piece: &Delta) -> bool {
        true
    }

    fn keep_alive(&self) -> &'static [u8] {
        self.wire.keep_alive()
    }

    fn charged(&self, keyed: &KeyedResponse) -> Option<Msats> {
        Answered::read(&keyed.response).map(|answered| answered.charged)
    }

    fn end(&mut self, ended: Result<KeyedResponse, Problem>, out: &mut Vec<u8>) {
        match ended.and_then(|keyed| answered(&keyed)) {
            // Nothing of it was sent: it was answered before.
            Ok(answered) if !self.has_begun => self.write_whole(&answered, out),
            Ok(answered) => self.wire.finish(&answered, out),
            Err(problem) => {
                self.begin_once(out);
                self.wire.fail(&problem, out);
            }
        }
    }
}
