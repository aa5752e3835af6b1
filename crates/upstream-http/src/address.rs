//! Where a service is, and what the operator sends with each call.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// The URL of a service.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl(Url);

/// A text is no URL of a service. It does not repeat the text, which may have a secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidUpstreamUrl {
    expected: &'static str,
}

impl FromStr for UpstreamUrl {
    type Err = InvalidUpstreamUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamUrl> {
        let wrong = |expected| InvalidUpstreamUrl { expected };
        let url = Url::parse(text).map_err(|_| wrong("an http or https URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("a URL without a user name and a password: send them in a header"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(
                "a URL without a query and a fragment: the query of each request is passed on",
            ));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({self})")
    }
}

impl UpstreamUrl {
    /// The host and the port.
    pub(crate) fn endpoint(&self) -> Option<(url::Host<String>, u16)> {
        Some((self.0.host()?.to_owned(), self.0.port_or_known_default()?))
    }

    /// The URL of a call: what is `below`, percent-encoded and checked, follows the path; `None` if that would be another place.
    pub(crate) fn at(&self, below: &str, query: Option<&str>) -> Option<Url> {
        let mut url = self.0.clone();
        if !below.is_empty() {
            let path = format!("{}{below}", url.path().trim_end_matches('/'));
            url.set_path(&path);
            // The URL's own rules have changed nothing of what was checked.
            if url.path() != path {
                return None;
            }
        }
        url.set_query(query);
        (url.host() == self.0.host()).then_some(url)
    }
}

/// What the operator sends with each call, such as a key. Its values are not shown.
#[derive(Clone, Default)]
pub struct UpstreamHeaders(pub(crate) HeaderMap);

/// A header cannot be sent. It does not show the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// The name is none.
    #[error("invalid name of a header: {0:?}")]
    Name(String),
    /// The header belongs to the connection.
    #[error("reserved header: {0} is set by the server")]
    Reserved(String),
    /// The value is none.
    #[error("invalid value of the header {0}: expected visible ASCII")]
    Value(String),
}

/// Headers that the HTTP client sets.
const RESERVED: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"];

impl UpstreamHeaders {
    /// Adds a header.
    ///
    /// # Errors
    /// [`InvalidHeader`].
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        let named = HeaderName::from_str(name).map_err(|_| InvalidHeader::Name(name.to_owned()))?;
        if RESERVED.contains(&named.as_str()) {
            return Err(InvalidHeader::Reserved(name.to_owned()));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| InvalidHeader::Value(name.to_owned()))?;
        value.set_sensitive(true);
        self.0.append(named, value);
        Ok(())
    }
}

impl fmt::Debug for UpstreamHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_and_hold_no_secrets() {
        for (text, is_valid) in [
            ("http://127.0.0.1:9000/api", true),
            ("https://weather.example", true),
            ("http://[::1]:9000", true),
            ("ftp://a/b", false),
            ("weather.example/x", false),
            ("http://user:secret@a/b", false),
            ("http://a/b?key=secret", false),
            ("http://a/b#c", false),
        ] {
            let parsed = text.parse::<UpstreamUrl>();
            assert_eq!(parsed.is_ok(), is_valid, "{text}");
            assert!(parsed.err().is_none_or(|wrong| !wrong.to_string().contains("secret")));
        }
    }

    #[test]
    fn what_is_below_follows_the_path() {
        let at = |base: &str, below: &str, query: Option<&str>| {
            base.parse::<UpstreamUrl>().unwrap().at(below, query).map(|url| url.to_string())
        };
        assert_eq!(at("http://a:1/api/", "/x/y", Some("q=1&r=%20")).unwrap(), "http://a:1/api/x/y?q=1&r=%20");
        assert_eq!(at("http://a:1", "/%C3%A4", None).unwrap(), "http://a:1/%C3%A4");
        assert_eq!(at("http://a:1/api/", "", Some("q")).unwrap(), "http://a:1/api/?q");
        for below in ["/../x", "/%2e%2e/x", "/a\\b"] {
            assert_eq!(at("http://a:1/api", below, None), None, "{below}");
        }
    }

    #[test]
    fn headers_are_not_shown_and_those_of_the_connection_are_refused() {
        let mut headers = UpstreamHeaders::default();
        headers.add("X-Api-Key", "secret").unwrap();
        assert_eq!(format!("{headers:?}"), "{\"x-api-key\"}");
        assert!(!format!("{:?}", headers.0).contains("secret"));
        assert_eq!(headers.add("Host", "b"), Err(InvalidHeader::Reserved("Host".to_owned())));
        assert_eq!(headers.add("a b", "c"), Err(InvalidHeader::Name("a b".to_owned())));
        assert_eq!(headers.add("A", "c\nd"), Err(InvalidHeader::Value("A".to_owned())));
    }
}
