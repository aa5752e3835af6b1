//! What every answer must have, noted while the checks run.

use super::ai;
use super::answer::Answer;
use super::excerpt;
use serde_json::Value;
use std::collections::BTreeSet;

/// The rules that every answer must keep, and the answers that broke them.
#[derive(Default)]
pub(super) struct Observed {
    /// How many answers there were.
    pub(super) answers: usize,
    /// How many of them were problems.
    pub(super) problems: usize,
    /// The request that was begun last.
    pub(super) begun: Option<String>,
    /// The last answer in a few words, with its request.
    pub(super) last: Option<String>,
    ids: BTreeSet<String>,
    /// The first answer that has no request id, or that of another.
    pub(super) without_id: Option<Broken>,
    /// The first problem that does not have the documented shape.
    pub(super) misshapen: Option<Broken>,
}

/// An answer that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) request: String,
    pub(super) expected: String,
    pub(super) got: String,
}

impl Observed {
    pub(super) fn note(&mut self, answer: &Answer) {
        self.answers += 1;
        self.last = Some(format!("that to {}: {}", answer.request, answer.summary()));
        let broken =
            |(expected, got): (String, String)| Broken { request: answer.request.clone(), expected, got };
        let id_fault = match answer.header("x-request-id") {
            None | Some("") => Some(("a header X-Request-Id".to_owned(), "none".to_owned())),
            Some(id) if !self.ids.insert(id.to_owned()) => Some((
                "a request id of its own".to_owned(),
                format!("{}, which another answer had", excerpt::short(id)),
            )),
            Some(_) => None,
        };
        if self.without_id.is_none() {
            self.without_id = id_fault.map(broken);
        }
        if answer.status >= 400 {
            self.problems += 1;
            if self.misshapen.is_none() {
                self.misshapen = shape_fault(answer).map(broken);
            }
        }
    }
}

/// How a problem differs from the documented shape: what was expected, and what came.
fn shape_fault(answer: &Answer) -> Option<(String, String)> {
    if ai::is_asked(answer) {
        return ai::shape_fault(answer);
    }
    let kind = answer.header("content-type").unwrap_or("none");
    if !kind.starts_with("application/problem+json") {
        let expected = format!("status {} to have Content-Type: application/problem+json", answer.status);
        return Some((expected, excerpt::short(kind)));
    }
    let shown = || excerpt::of_body(&answer.text);
    for field in ["type", "title", "detail", "code", "error", "requestId"] {
        if !answer.body.get(field).is_some_and(Value::is_string) {
            return Some((format!("a text `{field}` in the problem"), shown()));
        }
    }
    if answer.body.get("status").and_then(Value::as_u64) != Some(u64::from(answer.status)) {
        return Some((format!("`status` to be {}", answer.status), shown()));
    }
    if answer.body.get("error") != answer.body.get("detail") {
        return Some(("`error` to repeat `detail`".to_owned(), shown()));
    }
    // A replayed answer has the id of the request that it was made for.
    let replayed = answer.header("idempotency-replayed").is_some();
    let id = answer.body.get("requestId").and_then(Value::as_str);
    if !replayed && id != answer.header("x-request-id") {
        return Some(("`requestId` to be that of the header X-Request-Id".to_owned(), shown()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Answer::new("GET /x".to_owned(), status, map, body.to_string())
    }

    const PROBLEM: (&str, &str) = ("content-type", "application/problem+json");

    fn problem() -> Value {
        json!({ "type": "/problems/x", "title": "X", "status": 400, "detail": "d", "code": "x", "error": "d", "requestId": "1" })
    }

    #[test]
    fn answers_as_documented_break_no_rule() {
        let mut observed = Observed::default();
        observed.note(&answer(200, &[("x-request-id", "0")], &json!({})));
        observed.note(&answer(400, &[("x-request-id", "1"), PROBLEM], &problem()));
        let replayed = [("x-request-id", "2"), PROBLEM, ("idempotency-replayed", "true")];
        observed.note(&answer(400, &replayed, &problem()));
        assert_eq!((observed.answers, observed.problems), (3, 2));
        assert_eq!((observed.without_id, observed.misshapen), (None, None));
    }

    #[test]
    fn an_answer_without_its_own_request_id_is_noticed() {
        for headers in [&[][..], &[("x-request-id", "0")]] {
            let mut observed = Observed::default();
            observed.note(&answer(200, &[("x-request-id", "0")], &json!({})));
            observed.note(&answer(200, headers, &json!({})));
            assert!(observed.without_id.is_some(), "{headers:?}");
        }
    }

    #[test]
    fn a_problem_of_another_shape_is_noticed() {
        let noticed = |headers: &[(&'static str, &'static str)], body: &Value| {
            let mut observed = Observed::default();
            observed.note(&answer(400, headers, body));
            observed.misshapen.is_some()
        };
        let headers = [("x-request-id", "1"), PROBLEM];
        assert!(!noticed(&headers, &problem()));
        assert!(noticed(&[("x-request-id", "1")], &problem()));
        for (field, value) in [
            ("detail", json!(null)),
            ("status", json!(404)),
            ("error", json!("another")),
            ("requestId", json!("2")),
            ("code", json!(5)),
        ] {
            let mut body = problem();
            body[field] = value;
            assert!(noticed(&headers, &body), "{field}");
        }
    }
}
