//! Strict parsing of query strings: invalid UTF-8 is rejected, not replaced.

use crate::problem::Problem;
use percent_encoding::percent_decode_str;
use std::str::FromStr;

/// The parameters of a query string.
pub(crate) struct Query(Vec<(String, String)>);

/// A part of the query string is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotUtf8 {
    /// The name of the parameter with the invalid value; `None` if a parameter name is invalid.
    pub(crate) parameter: Option<String>,
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, NotUtf8> {
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or(NotUtf8 { parameter: None })?;
            let value = decode(value).ok_or_else(|| NotUtf8 { parameter: Some(name.clone()) })?;
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The first value of the named parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of the named parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(named, _)| named == name).map(|(_, value)| value.as_str())
    }
}

/// Which page of a list is asked for.
pub(crate) struct Page<C> {
    /// How many entries it has at most.
    pub(crate) limit: usize,
    /// The last entry of the page before.
    pub(crate) cursor: Option<C>,
}

impl<C: FromStr> Page<C> {
    /// Reads `limit`, which is `default` if absent and at most `max`, and `cursor`.
    ///
    /// # Errors
    /// A 400 that names the parameter.
    pub(crate) fn read(query: &Query, default: usize, max: usize) -> Result<Self, Problem> {
        Self::read_from(query, ("cursor", "expected the nextCursor of a page"), default, max)
    }

    /// Like [`Self::read`], with a cursor that has another name; `expected` says what it is.
    ///
    /// # Errors
    /// A 400 that names the parameter.
    pub(crate) fn read_from(
        query: &Query,
        (name, expected): (&str, &str),
        default: usize,
        max: usize,
    ) -> Result<Self, Problem> {
        let limit = query.get("limit").map_or(Some(default), |text| text.parse().ok());
        let limit = limit.filter(|limit| (1..=max).contains(limit));
        let limit = limit
            .ok_or_else(|| Problem::field("limit", format!("expected a whole number from 1 to {max}")))?;
        let cursor = query.get(name).map(str::parse).transpose();
        let cursor = cursor.map_err(|_| Problem::field(name, expected))?;
        Ok(Self { limit, cursor })
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_get_returns_the_first_value() {
        let query = Query::parse("request=a+b%20%E2%98%83&x&request=later&=&").unwrap();
        assert_eq!(query.get("request"), Some("a b ☃"));
        assert_eq!(query.all("request").collect::<Vec<_>>(), ["a b ☃", "later"]);
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
    }

    #[test]
    fn invalid_utf8_is_reported_with_its_parameter() {
        let parameter = Some("request".to_owned());
        assert_eq!(Query::parse("x=1&request=%FF").err(), Some(NotUtf8 { parameter }));
        assert_eq!(Query::parse("%FF=1").err(), Some(NotUtf8 { parameter: None }));
    }
}
