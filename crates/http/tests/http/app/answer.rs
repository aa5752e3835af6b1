//! A response, and the invariants that every response satisfies.

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A response that was read completely.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    /// The text of a header; empty if the header is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|wrong| panic!("{wrong}: {:?}", self.text))
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The detail of a problem.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts the status and returns the JSON body.
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// Asserts that the response is a problem with this status and code.
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text);
    }

    /// Asserts that the response is a problem with this status and one of these codes.
    pub(crate) fn is_one_of(&self, status: u16, codes: &[&str]) {
        assert!(self.status == status && codes.contains(&self.code().as_str()), "{}", self.text);
    }

    /// Asserts the invariants of every response: a request id, `nosniff`, and errors that are complete problems.
    pub(crate) fn check(&self) {
        let id = self.header("x-request-id");
        assert!(uuid::Uuid::parse_str(id).is_ok(), "request id {id:?} of {self:?}");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        assert!(self.status != 500 && self.status < 504, "{self:?}");
        if self.status >= 400 && !self.text.contains("\"checks\"") {
            self.check_problem(id);
        }
    }

    fn check_problem(&self, id: &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        let text = |name: &str| {
            let text = body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}"));
            assert!(!text.is_empty(), "an empty {name} in {self:?}");
            text
        };
        let code = text("code");
        assert_eq!(text("type"), format!("/problems/{}", code.replace('_', "-")));
        assert_eq!(body["status"], self.status);
        assert_eq!(text("detail"), text("error"));
        assert!(text("detail").chars().count() <= 600, "a detail of {} bytes", text("detail").len());
        assert_eq!(text("requestId"), id);
        assert!(!text("title").is_empty());
        // What a program needs to know besides.
        let extends = ["balance", "cap", "no_payment"].map(Value::from).contains(&body["reason"])
            || matches!(
                code,
                "top_up_pending" | "request_rejected" | "proof_for_another_request" | "payment_ended"
            );
        assert!(extends || body.as_object().unwrap().len() == 7, "{body}");
        assert_eq!(!self.header("allow").is_empty(), self.status == 405, "{self:?}");
        assert!(!matches!(self.status, 429 | 503) || !self.header("retry-after").is_empty(), "{self:?}");
    }
}
