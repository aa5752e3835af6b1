//! The responses of mounted routes: what the service has answered, as a whole or as it arrives.

use super::stored::{StoredCall, respond};
use crate::answer_headers::X_GENERATION_ID;
use crate::answering::AnswerFormat;
use crate::problem::Problem;
use actix_web::{HttpResponse, HttpResponseBuilder};
use std::time::Duration;
use tithe_chat::Delta;
use tithe_engine::idempotency::KeyedResponse;
use uuid::Uuid;

/// A stream does not begin before the service has: until then, its answer may be none.
const PATIENCE: Duration = Duration::from_hours(1);

/// The format of the answers of mounted routes. What is streamed is a stream of events.
pub(super) struct MountedAnswer {
    id: Uuid,
    has_begun: bool,
}

impl MountedAnswer {
    /// The answer to the request of this id.
    pub(super) const fn new(id: Uuid) -> Self {
        Self { id, has_begun: false }
    }
}

impl AnswerFormat for MountedAnswer {
    fn whole(&self, keyed: KeyedResponse) -> HttpResponse {
        respond(keyed)
    }

    fn at_once(&mut self, keyed: KeyedResponse) -> HttpResponse {
        respond(keyed)
    }

    fn begin(&self, response: &mut HttpResponseBuilder, _backend: Option<&str>) {
        response.insert_header((X_GENERATION_ID.clone(), self.id.to_string()));
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn pieces(&mut self, pieces: &[Delta], out: &mut Vec<u8>) {
        self.has_begun = true;
        for piece in pieces {
            if let Delta::Text(text) = piece {
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    fn is_sent(piece: &Delta) -> bool {
        matches!(piece, Delta::Text(_))
    }

    /// A piece may end within an event.
    fn keep_alive(&self) -> &'static [u8] {
        b""
    }

    fn end(&mut self, ended: Result<KeyedResponse, Problem>, out: &mut Vec<u8>) {
        match ended {
            // All of it was sent.
            Ok(keyed) if keyed.response.status == 200 && self.has_begun => {}
            Ok(keyed) if keyed.response.status == 200 => out.extend(StoredCall::body_of(&keyed)),
            Ok(keyed) => error(&keyed.response.body, out),
            Err(problem) => error(&problem.body_text(), out),
        }
    }
}

/// The service has broken off within an event, perhaps: that one is ended first.
fn error(data: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\nevent: error\ndata: ");
    out.extend_from_slice(data.replace(['\r', '\n'], " ").as_bytes());
    out.extend_from_slice(b"\n\n");
}
