//! The address of a backend and the credentials for it.

use reqwest::Url;
use reqwest::header::HeaderValue;
use std::fmt;
use std::str::FromStr;

/// An API key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// The text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid API key: expected visible ASCII characters without spaces")]
pub struct ApiKeyError;

impl ApiKey {
    /// The key after `scheme`, as a header that logs don't show.
    #[expect(clippy::expect_used, reason = "a key is visible ASCII, and so is every scheme in this crate")]
    pub(crate) fn header(&self, scheme: &'static str) -> HeaderValue {
        let mut value =
            HeaderValue::try_from(format!("{scheme}{}", self.0)).expect("visible ASCII is a header");
        value.set_sensitive(true);
        value
    }
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    /// Reads a key; the white space around it, such as the line feed at the end of a file, is not part of it.
    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let key = text.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiKeyError);
        }
        Ok(Self(key.to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// The base address of a backend's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// The text is not a base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// The text is not an http or https URL.
    #[error("invalid backend URL: expected an http or https URL")]
    NotHttp,
    /// The URL contains a password, which would appear in logs.
    #[error("invalid backend URL: expected no user name or password; set the API key separately")]
    Credentials,
}

impl BaseUrl {
    /// The endpoint `path` below this address. A query in the address is kept: some hosts want an API version there.
    pub(crate) fn endpoint(&self, path: &[&str]) -> Url {
        let mut url = self.0.clone();
        // An http or https URL always has segments, so nothing is ever left out here.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(crate) fn has_host(&self, host: &str) -> bool {
        self.0.host_str() == Some(host)
    }

    pub(crate) fn last_segment(&self) -> Option<&str> {
        self.0.path_segments()?.rfind(|segment| !segment.is_empty())
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;
    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let mut url: Url = text.trim().parse().map_err(|_| BaseUrlError::NotHttp)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Credentials);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_appended_with_or_without_a_slash_and_the_query_stays() {
        for (base, endpoint) in [
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("http://h/v1/", "http://h/v1/chat/completions"),
            ("http://h", "http://h/chat/completions"),
            ("https://h/x?api-version=1#f", "https://h/x/chat/completions?api-version=1"),
        ] {
            let base: BaseUrl = base.parse().unwrap();
            assert_eq!(base.endpoint(&["chat", "completions"]).as_str(), endpoint);
        }
    }

    #[test]
    fn addresses_that_could_not_work_or_would_leak_are_refused() {
        assert_eq!("ftp://h".parse::<BaseUrl>(), Err(BaseUrlError::NotHttp));
        assert_eq!("h/v1".parse::<BaseUrl>(), Err(BaseUrlError::NotHttp));
        assert_eq!("https://u:p@h".parse::<BaseUrl>(), Err(BaseUrlError::Credentials));
        assert_eq!("https://u@h".parse::<BaseUrl>(), Err(BaseUrlError::Credentials));
    }

    #[test]
    fn keys_are_words_and_never_shown() {
        assert_eq!(format!("{:?}", "sk-lab\n".parse::<ApiKey>().unwrap()), "ApiKey(…)");
        assert_eq!("sk-lab\n".parse::<ApiKey>().unwrap().header("").as_bytes(), b"sk-lab");
        for bad in ["", " ", "a b", "a\r\nX-Evil: 1", "schlüssel"] {
            assert_eq!(bad.parse::<ApiKey>(), Err(ApiKeyError), "{bad:?}");
        }
    }
}
