//! The answer of a service as it is stored for repetitions of its request.

use crate::answer_headers::{X_GENERATION_ID, X_TITHE_BALANCE_MSATS, X_TITHE_COST_MSATS};
use crate::idempotency;
use crate::problem::{Code, Problem};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tithe_engine::asks::{FinishedAsk, RenderAsk};
use tithe_engine::idempotency::KeyedResponse;
use tithe_engine::mounts::Called;
use tithe_engine::records::StoredResponse;
use tithe_engine::sessions::{FinishedRequest, RenderRequest};
use tithe_money::Msats;
use tithe_sessions::RequestState;
use uuid::Uuid;

/// [`idempotency::REPLAYED`], of a problem.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer, and what it cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredCall {
    id: Uuid,
    status: u16,
    headers: Vec<(String, String)>,
    body: StoredBody,
    cost: Msats,
    /// What the session has left, if it goes on.
    balance: Option<Msats>,
}

/// A body: most are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredBody {
    Text(String),
    Base64(String),
}

impl StoredBody {
    fn new(body: &[u8]) -> Self {
        // JSON writes a control character as six.
        let is_control = |c: char| c.is_ascii_control() && !matches!(c, '\t' | '\r' | '\n');
        match std::str::from_utf8(body) {
            Ok(text) if !text.contains(is_control) => Self::Text(text.to_owned()),
            _ => Self::Base64(STANDARD.encode(body)),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Base64(text) => STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

impl StoredCall {
    fn new(finished: &FinishedRequest, called: &Called) -> Self {
        Self {
            id: finished.request.id.0,
            status: called.status,
            headers: called.headers.clone(),
            body: StoredBody::new(&called.body),
            cost: finished.request.cost().map(|ended| ended.cost).unwrap_or_default(),
            balance: finished.end.is_none().then_some(finished.balance),
        }
    }

    /// The body of a stored answer; nothing if there is none.
    pub(super) fn body_of(keyed: &KeyedResponse) -> Vec<u8> {
        let stored = serde_json::from_str(&keyed.response.body);
        stored.map_or_else(|_none| Vec::new(), |stored: Self| stored.body.into_bytes())
    }
}

/// Renders what is stored for a call.
#[derive(Debug)]
pub(super) struct StoreCalled;

impl RenderRequest for StoreCalled {
    fn render(&self, finished: &FinishedRequest) -> StoredResponse {
        let called = finished.answer.as_ref().and_then(|answer| answer.called.as_deref());
        match (called, &finished.request.state) {
            (Some(called), _) => {
                let body = serde_json::to_string(&StoredCall::new(finished, called)).unwrap_or_default();
                StoredResponse { status: 200, body }
            }
            (None, RequestState::Failed { message }) => StoredResponse { status: 502, body: message.clone() },
            (None, _) => StoredResponse { status: 502, body: String::new() },
        }
    }
}

impl RenderAsk for StoreCalled {
    /// Neither a plan nor the pool alone pays for a mounted route.
    fn render(&self, _finished: &FinishedAsk) -> StoredResponse {
        StoredResponse { status: 502, body: String::new() }
    }
}

/// The response, new or replayed.
pub(super) fn respond(keyed: KeyedResponse) -> HttpResponse {
    if keyed.response.is_deleted() {
        return idempotency::respond(keyed);
    }
    let stored = Some(&keyed.response.body).filter(|_| keyed.response.status == 200);
    let stored = stored.and_then(|body| serde_json::from_str::<StoredCall>(body).ok());
    let problem = match stored {
        Some(StoredCall { id, status, headers, body, cost, balance }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let mut response = HttpResponse::build(status);
            response.insert_header((X_GENERATION_ID.clone(), id.to_string()));
            response.insert_header((X_TITHE_COST_MSATS.clone(), cost.get()));
            if let Some(balance) = balance {
                response.insert_header((X_TITHE_BALANCE_MSATS.clone(), balance.get()));
            }
            for header in headers {
                response.insert_header(header);
            }
            response.insert_header((CACHE_CONTROL, "no-store"));
            if keyed.replayed {
                response.insert_header(idempotency::REPLAYED);
            }
            return response.body(body.into_bytes());
        }
        None => Problem::new(Code::WorkFailed, keyed.response.body.clone()),
    };
    let replayed =
        keyed.replayed.then_some((IDEMPOTENCY_REPLAYED, HeaderValue::from_static(idempotency::REPLAYED.1)));
    replayed
        .into_iter()
        .fold(problem, |problem, (name, value)| problem.with_header(name, value))
        .error_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_to_the_byte() {
        for body in [&b""[..], b"text", "ä☃\0".as_bytes(), &[0, 159, 146, 150], &[255; 1000]] {
            let stored = serde_json::to_string(&StoredBody::new(body)).unwrap();
            assert_eq!(serde_json::from_str::<StoredBody>(&stored).unwrap().into_bytes(), body);
        }
    }
}
