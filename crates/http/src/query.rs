//! Reading query strings strictly: what is not UTF-8 is refused, not replaced.

use crate::identity::NOSTR_TOKEN;
use crate::problem::{Code, Problem};
use percent_encoding::percent_decode_str;

/// The parameters of a query string.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name =
                decode(name).map_err(|()| Problem::field("query", "a parameter's name is not UTF-8"))?;
            let value = decode(value).map_err(|()| not_text(&name))?;
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(named, _)| named == name).map(|(_, value)| value.as_str())
    }
}

fn not_text(name: &str) -> Problem {
    match name {
        // A token that is not text is a token that is not valid.
        NOSTR_TOKEN => Problem::new(Code::InvalidIdentity, format!("{name}: it is not UTF-8")),
        _ => Problem::field(name, "it is not UTF-8"),
    }
}

fn decode(text: &str) -> Result<String, ()> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let query = Query::parse("request=a+b%20%E2%98%83&x&request=later&=&").unwrap();
        assert_eq!(query.get("request"), Some("a b ☃"));
        assert_eq!(query.all("request").collect::<Vec<_>>(), ["a b ☃", "later"]);
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
    }

    #[test]
    fn what_is_not_utf8_is_named() {
        for name in ["request", NOSTR_TOKEN] {
            let wrong = Query::parse(&format!("{name}=%FF")).err().unwrap();
            assert_eq!(wrong.to_string(), format!("{name}: it is not UTF-8"));
        }
    }
}
