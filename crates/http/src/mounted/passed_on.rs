//! What of a request is passed on to the service behind a mounted route.

use crate::credentials::NOSTR_TOKEN_NAMES;
use crate::query::Query;
use actix_web::HttpRequest;
use actix_web::http::header::{CONNECTION, HeaderMap};

/// Headers that are not passed on: those of the connection (RFC 9110, section 7.6.1), credentials, what says who the customer is, what only this
/// server answers, and what asks for a part of an answer: the whole is stored, and repeated.
const KEPT: [&str; 34] = [
    "accept-encoding",
    "accept-payment",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-install-id",
    "x-license",
    "x-real-ip",
];

/// What the names of other such headers begin with; among them those that a service might believe in place of the method, the path, or the address
/// of the customer.
const KEPT_PREFIXES: [&str; 14] = [
    "cf-",
    "remote-",
    "sec-",
    "x-envoy-",
    "x-forwarded-",
    "x-http-",
    "x-method-",
    "x-nostr-",
    "x-original-",
    "x-override-",
    "x-remote-",
    "x-rewrite-",
    "x-tithe-",
    "x-user-",
];

/// What their names end with.
const KEPT_SUFFIX: &str = "client-ip";

/// The headers of a request that are passed on.
pub(super) fn headers(request: &HttpRequest) -> Vec<(String, Vec<u8>)> {
    passed_on(request.headers())
}

fn passed_on(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let named = headers.get_all(CONNECTION).filter_map(|value| value.to_str().ok());
    let named: Vec<String> =
        named.flat_map(|names| names.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect();
    let is_passed_on = |name: &str| {
        !KEPT.contains(&name)
            && !KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !name.ends_with(KEPT_SUFFIX)
            // For many services, `x_api_key` is the same as `x-api-key`.
            && !name.contains('_')
            && !named.iter().any(|named| named == name)
    };
    let passed_on = headers.iter().filter(|(name, _)| is_passed_on(name.as_str()));
    passed_on.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The query, without tokens of identities; `None` if nothing is left.
pub(super) fn query(text: &str) -> Option<String> {
    let is_token = |part: &str| {
        let query = Query::parse(part);
        query.is_ok_and(|query| NOSTR_TOKEN_NAMES.iter().any(|name| query.get(name).is_some()))
    };
    let parts: Vec<&str> = text.split('&').filter(|part| !is_token(part)).collect();
    Some(parts.join("&")).filter(|query| !query.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    #[test]
    fn credentials_and_what_belongs_to_the_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "application/json"),
            ("content-type", "text/plain"),
            ("x-custom", "yes"),
            ("authorization", "L402 a:b"),
            ("authorization", "Bearer c"),
            ("cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "secret"),
            ("transfer-encoding", "chunked"),
            ("x-tithe-something", "1"),
            ("x-nostr-token", "secret"),
            ("x-install-id", "secret"),
            ("x-license", "secret"),
            ("x-forwarded-for", "192.0.2.1"),
            ("idempotency-key", "k"),
            ("range", "bytes=0-1"),
            ("host", "tithe"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("true-client-ip", "192.0.2.1"),
            ("x-client-ip", "192.0.2.1"),
            ("x_api_key", "mine"),
            ("x_forwarded_for", "127.0.0.1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut names: Vec<String> = passed_on(&headers).into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "x-custom"]);
    }

    #[test]
    fn the_query_is_passed_on_as_it_was_sent_without_tokens() {
        assert_eq!(query("city=Rom%20a&b=%2F&c"), Some("city=Rom%20a&b=%2F&c".to_owned()));
        assert_eq!(query("nostr_token=secret&a=1&nostrToken=secret&no%73tr_token=x"), Some("a=1".to_owned()));
        assert_eq!((query(""), query("nostr_token=secret")), (None, None));
    }
}
