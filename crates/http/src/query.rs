//! Reading query strings strictly: what is not UTF-8 is refused, not replaced.

use crate::problem::Problem;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;

/// The parameters of a query string. The first of a name counts.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = HashMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name =
                decode(name).map_err(|()| Problem::field("query", "a parameter's name is not UTF-8"))?;
            let value = decode(value).map_err(|()| Problem::field(&name, "it is not UTF-8"))?;
            parameters.entry(name).or_insert(value);
        }
        Ok(Self(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
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
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
    }

    #[test]
    fn what_is_not_utf8_is_named() {
        let wrong = Query::parse("request=%FF").err().unwrap();
        assert_eq!(wrong.to_string(), "request: it is not UTF-8");
    }
}
