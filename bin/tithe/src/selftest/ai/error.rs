//! The errors of the two APIs.

use super::ROOT;
use super::wire::Wire;
use crate::selftest::answer::Answer;
use crate::selftest::excerpt;
use crate::selftest::outcome::Checked;
use serde_json::Value;

/// Words by which agents recognize a prompt that does not fit: they shorten it, and send it again.
const OVERFLOW: [&str; 3] = ["max_tokens", "context", "too large"];

/// Whether a request is one of these APIs.
pub(in crate::selftest) fn is_asked(answer: &Answer) -> bool {
    route(answer).is_some()
}

/// What follows the root of these APIs in the path of a request.
fn route(answer: &Answer) -> Option<&str> {
    let (_, path) = answer.request.split_once(' ')?;
    path.strip_prefix(ROOT)
}

/// How an error of these APIs differs from its shape: what was expected, and what came.
pub(in crate::selftest) fn shape_fault(answer: &Answer) -> Option<(String, String)> {
    fault(answer, route(answer).is_some_and(|route| route.starts_with("messages")))
}

fn fault(answer: &Answer, is_anthropic: bool) -> Option<(String, String)> {
    let kind = answer.header("content-type").unwrap_or("none");
    if !kind.starts_with("application/json") {
        let expected = format!("status {} to have Content-Type: application/json", answer.status);
        return Some((expected, excerpt::short(kind)));
    }
    let shown = || excerpt::of_body(&answer.text);
    for field in ["message", "type"] {
        let text = answer.body.pointer(&format!("/error/{field}")).and_then(Value::as_str);
        if text.is_none_or(str::is_empty) {
            return Some((format!("a text `error.{field}`"), shown()));
        }
    }
    // Programs that know Tithe find the code and the id here.
    let id = answer.header("x-request-id");
    if answer.body.pointer("/error/metadata/requestId").and_then(Value::as_str) != id {
        return Some((
            "`error.metadata.requestId` to be that of the header X-Request-Id".to_owned(),
            shown(),
        ));
    }
    if is_anthropic {
        let is_error = answer.body.get("type").and_then(Value::as_str) == Some("error");
        let has_id = answer.body.get("request_id").and_then(Value::as_str) == id;
        return (!is_error || !has_id).then(|| ("`type` to be error, and `request_id`".to_owned(), shown()));
    }
    let has = |field: &str| answer.body.pointer(&format!("/error/{field}")).is_some();
    (!has("code") || !has("param")).then(|| ("`error.code` and `error.param`".to_owned(), shown()))
}

impl Wire {
    /// The answer itself, if it is an error of this API with this status.
    pub(in crate::selftest) fn refused(self, answer: Answer, status: u16) -> Checked<Answer> {
        let answer = answer.status(status)?;
        if let Some((expected, got)) = fault(&answer, self == Self::Messages) {
            return Err(answer.fault(expected, got));
        }
        answer.is("/error/type", self.kind(status))?;
        if status == 402 {
            if self != Self::Messages {
                answer.is("/error/code", "insufficient_quota")?;
            }
            let message = answer.text_at("/error/message")?;
            let overflow = OVERFLOW.iter().find(|word| message.contains(**word));
            answer.holds(
                overflow.is_none(),
                "a message that agents do not take for a prompt that is too long",
                excerpt::short(message),
            )?;
            answer.holds(
                answer.header("retry-after").is_none(),
                "no Retry-After: waiting pays nothing",
                "one",
            )?;
            answer.is_private()?;
        }
        Ok(answer)
    }

    /// What the API calls an error with this status.
    const fn kind(self, status: u16) -> &'static str {
        match (self, status) {
            (_, 401) => "authentication_error",
            (Self::Messages, 402) => "billing_error",
            (_, 402) => "insufficient_quota",
            (_, 403) => "permission_error",
            (_, 404) => "not_found_error",
            (Self::Messages, 409) => "conflict_error",
            (_, 429) => "rate_limit_error",
            _ => "invalid_request_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    fn answer(path: &str, body: &Value) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("x-request-id", "1".parse().unwrap());
        Answer::new(format!("POST {path}"), 400, headers, body.to_string())
    }

    fn error() -> Value {
        json!({ "message": "m", "type": "t", "code": null, "param": null, "metadata": { "requestId": "1" } })
    }

    #[test]
    fn each_api_has_its_own_shape() {
        let of_openai = json!({ "error": error() });
        let of_anthropic = json!({ "type": "error", "request_id": "1", "error": error() });
        assert_eq!(shape_fault(&answer("/v1/responses", &of_openai)), None);
        assert_eq!(shape_fault(&answer("/v1/messages/count_tokens", &of_anthropic)), None);
        assert!(shape_fault(&answer("/v1/messages", &of_openai)).is_some());
        assert!(is_asked(&answer("/v1/messages", &of_openai)) && !is_asked(&answer("/api/jobs", &of_openai)));
    }

    #[test]
    fn an_error_without_its_fields_is_noticed() {
        for field in ["message", "type", "code", "param", "metadata"] {
            let mut error = error();
            error.as_object_mut().unwrap().remove(field);
            assert!(shape_fault(&answer("/v1/responses", &json!({ "error": error }))).is_some(), "{field}");
        }
    }
}
