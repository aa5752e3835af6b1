//! What of a request is passed on to the service behind a mounted route.

use crate::credentials::NOSTR_TOKEN_NAMES;
use crate::query::Query;
use actix_web::HttpRequest;
use actix_web::http::header::{CONNECTION, HeaderMap, HeaderName};

/// Headers that are passed on to every service: what the body is, what the answer is to be, and which program asks.
const ALWAYS: [&str; 6] =
    ["accept", "accept-language", "content-encoding", "content-language", "content-type", "user-agent"];

/// Headers that no service gets, whatever the operator names: those of the connection (RFC 9110, section 7.6.1), credentials, what says who the
/// customer is, what only this server answers, and what asks for a part of an answer: the whole is stored, and repeated.
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

/// A header that is passed on to every service anyhow, or to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassedHeader {
    /// It is no name of a header.
    #[error("expected names of headers, in small letters and without _")]
    Name,
    /// Every service gets it.
    #[error("expected headers that are not passed on anyhow")]
    Always,
    /// No service gets it.
    #[error(
        "expected headers that are neither credentials, nor the connection's, nor name the customer, a method, a path or a part"
    )]
    Never,
}

/// Checks that a header may be passed on to a service because the operator names it.
///
/// # Errors
/// [`InvalidPassedHeader`].
pub fn check_passed_header(name: &str) -> Result<(), InvalidPassedHeader> {
    // For many services, `x_api_key` is the same as `x-api-key`.
    let is_name = HeaderName::from_lowercase(name.as_bytes()).is_ok() && !name.contains('_');
    let is_kept = KEPT.contains(&name)
        || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(KEPT_SUFFIX);
    match () {
        () if !is_name => Err(InvalidPassedHeader::Name),
        () if ALWAYS.contains(&name) => Err(InvalidPassedHeader::Always),
        () if is_kept => Err(InvalidPassedHeader::Never),
        () => Ok(()),
    }
}

/// The headers of a request that are passed on: those that every service gets, and those that the operator has named for this one.
pub(crate) fn headers(request: &HttpRequest, named: &[String]) -> Vec<(String, Vec<u8>)> {
    passed_on(request.headers(), named)
}

fn passed_on(headers: &HeaderMap, named: &[String]) -> Vec<(String, Vec<u8>)> {
    let of_connection = headers.get_all(CONNECTION).filter_map(|value| value.to_str().ok());
    let of_connection: Vec<String> = of_connection
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let is_passed_on = |name: &str| {
        (ALWAYS.contains(&name) || named.iter().any(|named| named == name))
            && !of_connection.iter().any(|of_connection| of_connection == name)
    };
    let passed_on = headers.iter().filter(|(name, _)| is_passed_on(name.as_str()));
    passed_on.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The query, without tokens of identities; `None` if nothing is left.
pub(crate) fn query(text: &str) -> Option<String> {
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
    use actix_web::http::header::HeaderValue;

    #[test]
    fn what_every_service_gets_and_what_is_named_is_passed_on_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "application/json"),
            ("content-type", "text/plain"),
            ("x-custom", "yes"),
            ("x-other", "no"),
            ("x_custom", "no"),
            ("authorization", "L402 a:b"),
            ("authorization", "Bearer c"),
            ("cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "secret"),
            ("x-session-token", "secret"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let passed = |named: &[&str]| -> Vec<String> {
            let own: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            let mut headers: Vec<String> =
                passed_on(&headers, &own).into_iter().map(|(name, _)| name).collect();
            headers.sort_unstable();
            headers
        };
        assert_eq!(passed(&[]), ["accept", "content-type"]);
        assert_eq!(passed(&["x-custom", "x-hop"]), ["accept", "content-type", "x-custom"]);
    }

    #[test]
    fn no_service_gets_a_credential_or_what_names_the_customer_or_the_connection() {
        for name in [
            "authorization",
            "cookie",
            "connection",
            "transfer-encoding",
            "x-tithe-something",
            "x-nostr-token",
            "x-install-id",
            "x-license",
            "x-forwarded-for",
            "idempotency-key",
            "range",
            "host",
            "x-http-method-override",
            "x-original-url",
            "x-rewrite-url",
            "true-client-ip",
            "x-client-ip",
        ] {
            assert_eq!(check_passed_header(name), Err(InvalidPassedHeader::Never), "{name}");
        }
        for name in ["", "X-Custom", "x_api_key", "a b", "a:", "\u{e9}"] {
            assert_eq!(check_passed_header(name), Err(InvalidPassedHeader::Name), "{name}");
        }
        assert_eq!(check_passed_header("accept"), Err(InvalidPassedHeader::Always));
        for name in ["x-custom", "anthropic-version", "openai-beta", "prefer"] {
            assert_eq!(check_passed_header(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_query_is_passed_on_as_it_was_sent_without_tokens() {
        assert_eq!(query("city=Rom%20a&b=%2F&c"), Some("city=Rom%20a&b=%2F&c".to_owned()));
        assert_eq!(query("nostr_token=secret&a=1&nostrToken=secret&no%73tr_token=x"), Some("a=1".to_owned()));
        assert_eq!((query(""), query("nostr_token=secret")), (None, None));
    }
}
