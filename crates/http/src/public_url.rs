//! The public URL of the server.

use std::fmt;
use std::str::FromStr;
use url::Url;

/// The URL at which clients reach the server: scheme, host, and the port unless it is the default port of the scheme.
///
/// Signed requests contain this URL. A server behind a proxy cannot detect it, so the operator configures it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    host: String,
}

/// The text is not a public URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an http:// or https:// URL with a host, an optional port and no path")]
pub struct InvalidPublicUrl;

impl PublicUrl {
    /// The name or address of the host, without a port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let url = Url::parse(text).map_err(|_| InvalidPublicUrl)?;
        let web = matches!(url.scheme(), "http" | "https");
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        match url.host_str() {
            Some(host) if web && bare && nobody => {
                Ok(Self { origin: url.origin().ascii_serialization(), host: host.to_owned() })
            }
            _ => Err(InvalidPublicUrl),
        }
    }
}

impl fmt::Display for PublicUrl {
    /// Writes the URL without a trailing slash, so that a path can be appended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_and_a_host_are_a_public_url_without_a_trailing_slash() {
        for (text, origin, host) in [
            ("https://tithe.example", "https://tithe.example", "tithe.example"),
            ("https://TITHE.example:443/", "https://tithe.example", "tithe.example"),
            ("http://127.0.0.1:8402", "http://127.0.0.1:8402", "127.0.0.1"),
            ("http://[::1]:80", "http://[::1]", "[::1]"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host()), (origin, host));
        }
    }

    #[test]
    fn other_urls_are_rejected() {
        for wrong in [
            "",
            "tithe.example",
            "//tithe.example",
            "https://",
            "ftp://tithe.example",
            "https://tithe.example/api",
            "https://tithe.example/?",
            "https://tithe.example/#",
            "https://me@tithe.example",
            "https://me:secret@tithe.example",
            "localhost:8402",
        ] {
            assert_eq!(wrong.parse::<PublicUrl>(), Err(InvalidPublicUrl), "{wrong:?}");
        }
    }
}
