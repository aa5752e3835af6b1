//! A client of the AI API, in any of its three APIs.

use crate::asker::Asker;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

/// The APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Chat,
    Responses,
    Messages,
}

/// A request, as it is sent however often that takes.
#[derive(Debug, Clone)]
pub(crate) struct AiRequest {
    pub(crate) wire: Wire,
    pub(crate) is_stream: bool,
    pub(crate) text: String,
    pub(crate) way: Way,
}

/// What a client says of itself when it tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its key.
    Keyed(String),
    /// How often it has tried, as SDKs do.
    Retried,
    /// Nothing: each try is another request.
    Plain,
}

/// What has come of one try.
pub(crate) enum Came {
    /// An answer.
    Answered(Answered),
    /// Somebody has to pay, and this is why not.
    Refused(Value),
    /// The client has left in the middle, with this text.
    Left { id: String, text: String },
    /// Nothing, or the half of an answer, or a request to try again.
    Nothing,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The id of its record.
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) cost_msats: u64,
    pub(crate) absorbed_msats: u64,
    /// Where it ran; `None` in a stream that came as it was generated.
    pub(crate) backend: Option<String>,
}

impl Wire {
    const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    fn body(self, text: &str, is_stream: bool) -> Value {
        let input = json!([{ "role": "user", "content": text }]);
        match self {
            Self::Chat if is_stream => json!({
                "model": "sim-large", "messages": input, "max_tokens": 60, "stream": true, "stream_options": { "include_usage": true }
            }),
            Self::Chat | Self::Messages => {
                json!({ "model": "sim-large", "messages": input, "max_tokens": 60, "stream": is_stream })
            }
            Self::Responses => {
                json!({ "model": "sim-large", "input": input, "max_output_tokens": 60, "stream": is_stream })
            }
        }
    }

    /// The text of an answer, or of an event.
    fn text(self, body: &Value, is_stream: bool) -> Option<&str> {
        let pointer = match (self, is_stream) {
            (Self::Chat, false) => "/choices/0/message/content",
            (Self::Chat, true) => "/choices/0/delta/content",
            (Self::Responses, false) => "/output/0/content/0/text",
            (Self::Responses, true) if body["type"] == "response.output_text.delta" => "/delta",
            (Self::Messages, false) => "/content/0/text",
            (Self::Messages, true) => "/delta/text",
            (Self::Responses, true) => return None,
        };
        body.pointer(pointer)?.as_str()
    }

    /// The usage in an answer, or in an event; that of a message's beginning has no cost.
    fn usage(self, body: &Value, is_stream: bool) -> Option<&Value> {
        let usage =
            if is_stream && self == Self::Responses { &body["response"]["usage"] } else { &body["usage"] };
        usage["cost_msats"].is_u64().then_some(usage)
    }

    /// Whether an event ends a stream.
    fn is_end(self, data: &str) -> bool {
        match self {
            Self::Chat => data == "[DONE]",
            Self::Responses => {
                data.contains("\"type\":\"response.completed\"")
                    || data.contains("\"type\":\"response.incomplete\"")
            }
            Self::Messages => data.contains("\"type\":\"message_stop\""),
        }
    }
}

/// A stream as far as it has come.
struct Stream {
    wire: Wire,
    text: String,
    usage: Option<Value>,
    waiting: Vec<u8>,
}

impl Stream {
    /// Takes in what has come; says whether the answer has ended.
    fn read(&mut self, bytes: &[u8]) -> bool {
        self.waiting.extend(bytes);
        let mut has_ended = false;
        while let Some(end) = self.waiting.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.waiting.drain(..end + 2).collect();
            let event = String::from_utf8(event).unwrap();
            for data in event.lines().filter_map(|line| line.strip_prefix("data: ")) {
                has_ended |= self.wire.is_end(data);
                let Ok(body) = serde_json::from_str::<Value>(data) else { continue };
                self.text.push_str(self.wire.text(&body, true).unwrap_or_default());
                self.usage = self.wire.usage(&body, true).cloned().or(self.usage.take());
            }
        }
        has_ended
    }
}

impl Asker {
    /// Sends a request once, for the `tried + 1`st time, and leaves after so many parts of a stream.
    pub(crate) async fn ai_try(
        &self,
        macaroon: Option<&str>,
        request: &AiRequest,
        tried: u32,
        leaves_after: Option<u64>,
    ) -> Came {
        let AiRequest { wire, is_stream, text, way } = request;
        let body = wire.body(text, *is_stream).to_string().into_bytes();
        let built = self.request(macaroon, "POST", wire.path(), &body).await;
        let built = built.header("Content-Type", "application/json").body(body);
        let built = match way {
            Way::Keyed(key) => built.header("Idempotency-Key", key),
            Way::Retried => built.header("X-Stainless-Retry-Count", tried),
            Way::Plain => built,
        };
        let came = match built.send().await {
            Ok(response) => self.ai_read(*wire, response, leaves_after).await,
            Err(lost) => Err(lost),
        };
        let came = came.unwrap_or_else(|lost| {
            assert!(!lost.is_timeout(), "a server hangs: {lost:?}");
            self.tally.retries.add("lost connection to the AI API");
            Came::Nothing
        });
        if let (Came::Answered(_), Way::Keyed(key)) = (&came, way) {
            self.tally.answer(key, 200);
        }
        came
    }

    async fn ai_read(
        &self,
        wire: Wire,
        response: Response,
        leaves_after: Option<u64>,
    ) -> reqwest::Result<Came> {
        let (status, headers) = (response.status(), response.headers().clone());
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let is_stream = header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        if status != StatusCode::OK {
            let body = response.text().await?;
            let body: Value =
                serde_json::from_str(&body).unwrap_or_else(|wrong| panic!("{wrong}: {status} {body}"));
            return Ok(self.ai_refused(status, &body["error"], header("retry-after").is_some()));
        }
        let id = header("x-generation-id").unwrap();
        let backend = header("x-tithe-backend");
        let (text, usage) = if is_stream {
            match self.ai_stream(wire, response, &id, leaves_after).await? {
                Ok(read) => read,
                Err(left) => return Ok(left),
            }
        } else {
            let body: Value = serde_json::from_str(&response.text().await?).unwrap();
            let usage = wire.usage(&body, false).unwrap_or_else(|| panic!("{body}")).clone();
            (wire.text(&body, false).unwrap_or_default().to_owned(), usage)
        };
        let msats = |field: &str| usage[field].as_u64().unwrap_or_else(|| panic!("{usage}"));
        let (cost_msats, absorbed_msats) = (msats("cost_msats"), msats("absorbed_msats"));
        Ok(Came::Answered(Answered { id, text, cost_msats, absorbed_msats, backend }))
    }

    /// Reads a stream to its end: its text and its usage. Or what else has come of it.
    async fn ai_stream(
        &self,
        wire: Wire,
        mut response: Response,
        id: &str,
        leaves_after: Option<u64>,
    ) -> reqwest::Result<Result<(String, Value), Came>> {
        let mut stream = Stream { wire, text: String::new(), usage: None, waiting: Vec::new() };
        let (mut has_ended, mut parts) = (false, 0);
        while let Some(part) = response.chunk().await? {
            has_ended |= stream.read(&part);
            parts += 1;
            if leaves_after == Some(parts) && !has_ended {
                return Ok(Err(Came::Left { id: id.to_owned(), text: stream.text }));
            }
        }
        if let (true, Some(usage)) = (has_ended, stream.usage) {
            return Ok(Ok((stream.text, usage)));
        }
        // It says that it has failed: the server lost its hold while the database was away. Nothing was charged.
        self.tally.retries.add("a stream that has failed");
        Ok(Err(Came::Nothing))
    }

    /// An error: each has the shape of its API, and none is worse than "try again".
    fn ai_refused(&self, status: StatusCode, error: &Value, says_when: bool) -> Came {
        let code = error["metadata"]["code"].as_str().unwrap_or_else(|| panic!("{status} {error}"));
        match (status, code) {
            (StatusCode::PAYMENT_REQUIRED, _) => return Came::Refused(error.clone()),
            (StatusCode::UNAUTHORIZED, _) => self.forget_token(&error["metadata"]),
            (StatusCode::SERVICE_UNAVAILABLE, _) => {
                assert!(says_when, "a 503 says when to try again: {error}");
            }
            (StatusCode::CONFLICT, "request_in_progress") | (StatusCode::BAD_GATEWAY, "work_failed") => {}
            other => panic!("{other:?} {error}"),
        }
        self.tally.retries.add(&format!("{} {code} of the AI API", status.as_u16()));
        Came::Nothing
    }

    /// A request of a random kind.
    pub(crate) fn any_ai_request(&self, text: String, way: Way) -> AiRequest {
        let wire = match self.random(3) {
            0 => Wire::Chat,
            1 => Wire::Responses,
            _ => Wire::Messages,
        };
        AiRequest { wire, is_stream: self.random(3) > 0, text, way }
    }

    /// After how many parts of a stream a client leaves that does.
    pub(crate) fn leaves(&self) -> Option<u64> {
        (self.random(3) == 0).then(|| self.random(12) + 1)
    }

    /// Has a keyed request of the AI API done, whatever happens; one who has left comes back. Says why nobody pays for it.
    pub(crate) async fn ai(&self, request: &AiRequest) -> Result<Answered, Value> {
        let may_leave = matches!(request.way, Way::Keyed(_));
        for tried in 0.. {
            let leaves_after = self.leaves().filter(|_| may_leave);
            match self.ai_try(None, request, tried, leaves_after).await {
                Came::Answered(answered) => return Ok(answered),
                Came::Refused(error) => return Err(error),
                Came::Left { .. } => self.tally.retries.add("left a stream, and came back"),
                Came::Nothing => {}
            }
            self.pause().await;
        }
        unreachable!("tries have no end")
    }
}
