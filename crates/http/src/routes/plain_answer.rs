//! The responses to plain requests and to requests of sessions: a JSON body, or the events `delta`, `done` and `error`.

use crate::answer_headers::{X_TITHE_BACKEND, X_TITHE_BALANCE_MSATS, X_TITHE_COST_MSATS};
use crate::answering::{AnswerFormat, FIRST_PIECE, event_stream};
use crate::problem::{Code, Problem};
use crate::wire::{AnswerDeltaBody, AskReplyBody, SessionReplyBody};
use crate::{idempotency, request_id};
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Deserialize;
use std::io::Write;
use std::time::Duration;
use tithe_chat::Delta;
use tithe_engine::asks::{FinishedAsk, RenderAsk};
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, RenderRequest};
use tithe_money::Msats;
use tithe_sessions::RequestState;

/// The format of plain answers: text only.
pub(super) struct PlainAnswer;

/// Whether the client prefers events.
pub(crate) fn wants_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|line| line.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

impl AnswerFormat for PlainAnswer {
    fn whole(&self, keyed: KeyedResponse) -> HttpResponse {
        respond(keyed)
    }

    fn at_once(&mut self, keyed: KeyedResponse) -> HttpResponse {
        if keyed.response.status != 200 {
            return respond(keyed);
        }
        let mut response = event_stream();
        if keyed.replayed {
            response.insert_header(idempotency::REPLAYED);
        }
        let mut out = Vec::new();
        event("done", &keyed.response.body, &mut out);
        response.body(out)
    }

    fn patience(&self) -> Duration {
        FIRST_PIECE
    }

    fn pieces(&mut self, pieces: &[Delta], out: &mut Vec<u8>) {
        let texts = pieces.iter().filter_map(|piece| match piece {
            Delta::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let text: String = texts.collect();
        if !text.is_empty() {
            event("delta", &serde_json::to_string(&AnswerDeltaBody { text }).unwrap_or_default(), out);
        }
    }

    /// Only text: reasoning is not part of a plain answer.
    fn is_sent(piece: &Delta) -> bool {
        matches!(piece, Delta::Text(_))
    }

    fn keep_alive(&self) -> &'static [u8] {
        b": still here\n\n"
    }

    fn charged(&self, keyed: &KeyedResponse) -> Option<Msats> {
        /// What a session's answer says of its price.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Charged {
            debited_msats: Option<Msats>,
        }
        let is_answer = keyed.response.status == 200;
        let charged = is_answer.then(|| serde_json::from_str::<Charged>(&keyed.response.body).ok());
        charged.flatten()?.debited_msats
    }

    fn end(&mut self, ended: Result<KeyedResponse, Problem>, out: &mut Vec<u8>) {
        match ended {
            Ok(keyed) if keyed.response.status == 200 => event("done", &keyed.response.body, out),
            Ok(keyed) if keyed.response.is_deleted() => {
                event("error", &idempotency::deleted().body_text(), out);
            }
            Ok(keyed) => event("error", &keyed.response.body, out),
            Err(problem) => event("error", &problem.body_text(), out),
        }
    }
}

/// An event. JSON contains no raw line breaks, so the data fits on one line.
fn event(name: &str, data: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _written = write!(out, "event: {name}\ndata: {data}\n\n");
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

/// Renders what is stored of an answer: the body of the response.
#[derive(Debug)]
pub(crate) struct PlainReply {
    http_request_id: String,
}

impl PlainReply {
    /// Renders the response to the current request.
    pub(crate) fn new() -> Self {
        Self::to(request_id::current())
    }

    /// Renders the response to the request of this id.
    pub(crate) const fn to(http_request_id: String) -> Self {
        Self { http_request_id }
    }
}

impl RenderRequest for PlainReply {
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

impl RenderAsk for PlainReply {
    fn render(&self, finished: &FinishedAsk) -> StoredResponse {
        if let Err(reason) = &finished.answer {
            let problem =
                Problem::new(Code::RequestRejected, format!("the request was not accepted: {reason}"))
                    .with_extension("reason", reason.clone())
                    .with_extension("costMsats", finished.cost.get())
                    .with_extension("debitedMsats", 0);
            let body = problem.body_text_of(&self.http_request_id);
            return StoredResponse { status: problem.status_code().as_u16(), body };
        }
        let body = AskReplyBody::of(finished).ok().flatten();
        let body = body.and_then(|body| serde_json::to_string(&body).ok()).unwrap_or_default();
        StoredResponse { status: 200, body }
    }
}
