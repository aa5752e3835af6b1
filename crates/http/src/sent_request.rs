//! What is kept of a request with its offer.

use crate::credentials::Incoming;
use crate::decisive_headers::{DecisiveHeaders, anthropic_headers};
use crate::paid_request::PaidPath;
use crate::passed_on;
use crate::state::AppState;
use actix_web::HttpRequest;
use std::sync::Arc;
use tithe_sessions::SentRequest;

/// Where a request was sent that can be kept, because `sent_reader` can read it again. A call in a message of MCP is none of them: what is
/// paid for is the call, and not the message that it comes in.
#[derive(Debug)]
enum SentTo<'a> {
    /// An operation of this server.
    Operation,
    /// A mounted route, to whose service these headers are passed on, as the operator has named them.
    Mount(&'a DecisiveHeaders),
}

impl<'a> SentTo<'a> {
    fn of(request: &'a HttpRequest) -> Option<Self> {
        if let Some(named) = request.app_data::<DecisiveHeaders>() {
            return Some(Self::Mount(named));
        }
        PaidPath::at(request.uri().path()).map(|_| Self::Operation)
    }

    /// The headers that change what is done.
    fn headers(&self, request: &HttpRequest) -> Vec<(String, Vec<u8>)> {
        match self {
            Self::Operation => anthropic_headers(request)
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            Self::Mount(DecisiveHeaders(named)) => passed_on::headers(request, named),
        }
    }
}

/// What can be kept of a request: everything that changes what is done, and no credential; `None` if the server keeps none, it is too
/// large, it is not read again where it was sent, it has a token in its query or its body, or what is to be kept is not text.
pub(crate) fn sent(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
) -> Option<Arc<SentRequest>> {
    let (to, body) = (SentTo::of(request)?, incoming.body());
    if !state.engine.sessions.may_keep(body.len()) || incoming.has_body_token() {
        return None;
    }
    let query = Some(request.query_string()).filter(|query| !query.is_empty());
    if passed_on::query(request.query_string()).as_deref() != query {
        return None;
    }
    let headers = to.headers(request).into_iter();
    let headers = headers.map(|(name, value)| Some((name, String::from_utf8(value).ok()?)));
    Some(Arc::new(SentRequest {
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        query: query.map(str::to_owned),
        headers: headers.collect::<Option<_>>()?,
        body: body.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paid_request::{MCP_PATH, PATHS};
    use actix_web::test::TestRequest;

    #[test]
    fn only_requests_that_are_read_again_can_be_kept_and_no_call_of_mcp() {
        for path in PATHS {
            let request = TestRequest::post().uri(path).insert_header(("anthropic-beta", "a"));
            let request = request.insert_header(("accept", "b")).to_http_request();
            let to = SentTo::of(&request).unwrap();
            assert!(matches!(to, SentTo::Operation), "{path}");
            assert_eq!(to.headers(&request), [("anthropic-beta".to_owned(), b"a".to_vec())]);
        }
        for path in [MCP_PATH, "/api/ask/", "/api/jobs", "/"] {
            assert!(SentTo::of(&TestRequest::post().uri(path).to_http_request()).is_none(), "{path}");
        }
        let mounted = TestRequest::post().uri("/paid/weather").app_data(DecisiveHeaders(Vec::new()));
        assert!(matches!(SentTo::of(&mounted.to_http_request()), Some(SentTo::Mount(_))));
    }
}
