//! Clients of the AI API.

use super::{Answer, Options, Scripted, TestApp};
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tithe_engine::store::AuditRow;
use tithe_ledger::{Transfer, TransferKind};
use tithe_pricing::{Catalogue, Priced, Terms, Usage};

/// The APIs that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Chat,
    Responses,
    Messages,
}

/// A tool, and what is asked for so that it is called.
pub(crate) const TOOL: &str = "weather";

impl Wire {
    pub(crate) const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// A request.
    pub(crate) fn body(self, text: &str, stream: bool) -> Value {
        let mut body = match self {
            Self::Chat => json!({ "messages": [{"role": "user", "content": text}], "max_tokens": 400 }),
            Self::Responses => json!({ "input": text, "max_output_tokens": 400 }),
            Self::Messages => json!({ "messages": [{"role": "user", "content": text}], "max_tokens": 400 }),
        };
        body["model"] = "sim-large".into();
        if stream {
            body["stream"] = true.into();
        }
        if stream && self == Self::Chat {
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }

    /// The same with a function.
    pub(crate) fn body_with_tool(self, text: &str, stream: bool) -> Value {
        let mut body = self.body(text, stream);
        let schema = json!({ "type": "object", "properties": {"city": {"type": "string"}} });
        body["tools"] = match self {
            Self::Chat => json!([{ "type": "function", "function": {"name": TOOL, "parameters": schema} }]),
            Self::Responses => json!([{ "type": "function", "name": TOOL, "parameters": schema }]),
            Self::Messages => json!([{ "name": TOOL, "input_schema": schema }]),
        };
        body
    }

    /// Reads an answer.
    pub(crate) fn read(self, answer: &Answer, stream: bool) -> Read {
        assert_eq!(answer.status, 200, "{}", answer.text);
        if !stream {
            assert_eq!(answer.header("content-type"), "application/json");
            return self.read_whole(&answer.json());
        }
        assert_eq!(answer.header("content-type"), "text/event-stream");
        match self {
            Self::Chat => read_chunks(&answer.text),
            Self::Responses => read_response_events(&answer.text),
            Self::Messages => read_message_events(&answer.text),
        }
    }

    fn read_whole(self, body: &Value) -> Read {
        let mut read = Read { id: text(&body["id"]), usage: body["usage"].clone(), ..Read::default() };
        match self {
            Self::Chat => {
                assert_eq!(
                    (&body["object"], &body["model"]),
                    (&json!("chat.completion"), &json!("sim-large"))
                );
                let choice = &body["choices"][0];
                read.text = choice["message"]["content"].as_str().unwrap_or_default().to_owned();
                for call in choice["message"]["tool_calls"].as_array().into_iter().flatten() {
                    let function = &call["function"];
                    read.calls.push((
                        text(&call["id"]),
                        text(&function["name"]),
                        text(&function["arguments"]),
                    ));
                }
                read.finish = text(&choice["finish_reason"]);
            }
            Self::Responses => read.response(body),
            Self::Messages => {
                assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")));
                for block in body["content"].as_array().unwrap() {
                    match block["type"].as_str().unwrap() {
                        "text" => read.text.push_str(block["text"].as_str().unwrap()),
                        "tool_use" => {
                            let call = (text(&block["id"]), text(&block["name"]), block["input"].to_string());
                            read.calls.push(call);
                        }
                        other => panic!("{other}"),
                    }
                }
                read.finish = message_finish(&body["stop_reason"]);
            }
        }
        read
    }

    /// Checks that an answer is an error of this API, and returns the error.
    pub(crate) fn refused(self, answer: &Answer, status: u16) -> Value {
        assert_eq!(answer.status, status, "{self:?}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json", "{self:?}: {answer:?}");
        let body = answer.json();
        let error = body["error"].clone();
        let message = error["message"].as_str().unwrap_or_else(|| panic!("{self:?}: {body}"));
        assert!(!message.is_empty());
        let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let request_id = answer.header("x-request-id");
        assert_eq!(error["metadata"]["requestId"], request_id, "{body}");
        if self == Self::Messages {
            assert_eq!((fields(&body).as_str(), &body["type"]), ("error request_id type", &json!("error")));
            assert_eq!(body["request_id"], request_id);
            assert_eq!(fields(&error), "message metadata type");
            let kind = match status {
                400 | 405 | 410 | 415 | 422 => "invalid_request_error",
                401 => "authentication_error",
                402 => "billing_error",
                403 => "permission_error",
                404 => "not_found_error",
                409 => "conflict_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                503 | 529 => "overloaded_error",
                _ => "api_error",
            };
            assert_eq!(error["type"], kind, "{body}");
        } else {
            assert_eq!(fields(&body), "error");
            assert_eq!(fields(&error), "code message metadata param type");
            let kind = match status {
                401 => "authentication_error",
                402 => "insufficient_quota",
                403 => "permission_error",
                404 => "not_found_error",
                429 => "rate_limit_error",
                500.. => "server_error",
                _ => "invalid_request_error",
            };
            assert_eq!(error["type"], kind, "{body}");
            assert!(error["code"].is_string(), "{body}");
            assert_eq!(status == 402, error["code"] == "insufficient_quota", "{body}");
        }
        if status == 402 {
            for word in ["max_tokens", "context", "too large"] {
                assert!(!message.contains(word), "{message:?} makes agents shorten their chat");
            }
            assert_eq!(answer.header("retry-after"), "", "waiting does not help");
        }
        assert!(!matches!(status, 429 | 503) || !answer.header("retry-after").is_empty(), "{answer:?}");
        error
    }
}

/// An answer, in no API's words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) id: String,
    pub(crate) text: String,
    /// Id, name and arguments.
    pub(crate) calls: Vec<(String, String, String)>,
    /// `stop`, `length` or `tool_calls`; empty if the answer has failed.
    pub(crate) finish: String,
    pub(crate) usage: Value,
    /// The error that a stream has ended with.
    pub(crate) error: Value,
}

impl Read {
    pub(crate) fn cost(&self) -> u64 {
        self.usage["cost_msats"].as_u64().unwrap_or_else(|| panic!("no cost in {self:?}"))
    }

    pub(crate) fn absorbed(&self) -> u64 {
        self.usage["absorbed_msats"].as_u64().unwrap_or_else(|| panic!("no absorbed cost in {self:?}"))
    }

    fn response(&mut self, body: &Value) {
        self.id = text(&body["id"]);
        assert_eq!((&body["object"], &body["store"]), (&json!("response"), &json!(false)));
        self.usage = body["usage"].clone();
        let mut is_call = false;
        for item in body["output"].as_array().unwrap() {
            match item["type"].as_str().unwrap() {
                "message" => {
                    for part in item["content"].as_array().unwrap() {
                        self.text.push_str(part["text"].as_str().unwrap());
                    }
                }
                "function_call" => {
                    is_call = true;
                    self.calls.push((text(&item["call_id"]), text(&item["name"]), text(&item["arguments"])));
                }
                other => panic!("{other}"),
            }
        }
        self.finish = match (body["status"].as_str().unwrap(), is_call) {
            ("completed", true) => "tool_calls",
            ("completed", false) => "stop",
            ("incomplete", _) => {
                assert_eq!(body["incomplete_details"]["reason"], "max_output_tokens", "{body}");
                "length"
            }
            ("failed", _) => {
                self.error = body["error"].clone();
                ""
            }
            other => panic!("{other:?}"),
        }
        .to_owned();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn message_finish(reason: &Value) -> String {
    match reason.as_str().unwrap() {
        "end_turn" => "stop",
        "max_tokens" => "length",
        "tool_use" => "tool_calls",
        other => panic!("{other}"),
    }
    .to_owned()
}

/// The events of a stream: name and data. Nothing but whole events may be in it.
pub(crate) fn frames(stream: &str) -> Vec<(Option<String>, String)> {
    let mut frames = Vec::new();
    assert!(stream.is_empty() || stream.ends_with("\n\n"), "{stream:?}");
    for block in stream.split("\n\n").filter(|block| !block.is_empty()) {
        let (mut name, mut data) = (None, None);
        for line in block.lines() {
            if let Some(text) = line.strip_prefix("event: ") {
                assert!(name.replace(text.to_owned()).is_none(), "{block:?}");
            } else if let Some(text) = line.strip_prefix("data: ") {
                assert!(data.replace(text.to_owned()).is_none(), "{block:?}");
            } else {
                panic!("{line:?} is neither an event nor its data");
            }
        }
        frames.push((name, data.unwrap_or_else(|| panic!("{block:?} has no data"))));
    }
    frames
}

/// Reads a stream as a strict client of OpenAI's chat completions does.
fn read_chunks(stream: &str) -> Read {
    let mut read = Read::default();
    let frames = frames(stream);
    let (last, chunks) = frames.split_last().unwrap();
    assert_eq!(last, &(None, "[DONE]".to_owned()));
    for (n, (name, data)) in chunks.iter().enumerate() {
        assert_eq!(name, &None, "nothing but chunks");
        let chunk: Value = serde_json::from_str(data).unwrap_or_else(|wrong| panic!("{wrong}: {data}"));
        if chunk.get("error").is_some() {
            assert!(n == chunks.len() - 1 && chunk["error"]["message"].is_string(), "{chunk}");
            read.error = chunk["error"].clone();
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        let id = text(&chunk["id"]);
        assert!(read.id.is_empty() || read.id == id);
        read.id = id;
        let choices = chunk["choices"].as_array().unwrap();
        if choices.is_empty() {
            // The usage is alone, and the last.
            assert!(n == chunks.len() - 1 && read.usage.is_null(), "{chunk}");
            for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
                assert!(chunk["usage"][count].is_u64(), "{chunk}");
            }
            read.usage = chunk["usage"].clone();
            continue;
        }
        assert!(chunk["usage"].is_null(), "{chunk}");
        assert!(read.finish.is_empty(), "a chunk after the finish: {chunk}");
        assert_eq!(choices[0]["index"], 0);
        let delta = &choices[0]["delta"];
        read.text.push_str(delta["content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == read.calls.len() {
                assert_eq!(call["type"], "function");
                read.calls.push((text(&call["id"]), text(&call["function"]["name"]), String::new()));
            }
            read.calls[index].2.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        read.finish = choices[0]["finish_reason"].as_str().unwrap_or_default().to_owned();
    }
    read
}

/// Reads a stream as Codex does: everything from `type`, the items and the usage from the end.
fn read_response_events(stream: &str) -> Read {
    let (mut read, mut deltas, mut items) = (Read::default(), String::new(), Vec::new());
    let frames = frames(stream);
    for (n, (name, data)) in frames.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap_or_else(|wrong| panic!("{wrong}: {data}"));
        assert_eq!(event["type"].as_str(), name.as_deref(), "{event}");
        assert_eq!(event["sequence_number"], n, "{event}");
        match event["type"].as_str().unwrap() {
            "response.created" => {
                assert_eq!(n, 0);
                read.id = text(&event["response"]["id"]);
            }
            "response.output_text.delta" => deltas.push_str(event["delta"].as_str().unwrap()),
            "response.output_item.done" => items.push(event["item"].clone()),
            "response.completed" | "response.incomplete" | "response.failed" => {
                assert_eq!(n, frames.len() - 1, "the end is the last");
                let id = read.id.clone();
                read.response(&event["response"]);
                assert_eq!(id, read.id);
                if read.error.is_null() {
                    let output = event["response"]["output"].as_array().unwrap();
                    // Clients do what a call says as soon as it is done: one that was cut never is.
                    let is_done =
                        |item: &&Value| item["type"] != "function_call" || item["status"] == "completed";
                    assert_eq!(
                        output.iter().filter(is_done).collect::<Vec<_>>(),
                        items.iter().collect::<Vec<_>>()
                    );
                    for count in ["input_tokens", "output_tokens", "total_tokens"] {
                        assert!(read.usage[count].is_u64(), "{event}");
                    }
                    assert_eq!(read.text, deltas);
                }
            }
            _ => {}
        }
    }
    assert!(!read.finish.is_empty() || !read.error.is_null(), "no end: {stream}");
    read.text = deltas;
    read
}

/// Reads a stream as Anthropic's SDK does.
fn read_message_events(stream: &str) -> Read {
    let mut read = Read::default();
    let mut blocks: BTreeMap<u64, usize> = BTreeMap::new();
    let frames = frames(stream);
    for (n, (name, data)) in frames.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap_or_else(|wrong| panic!("{wrong}: {data}"));
        assert_eq!(event["type"].as_str(), name.as_deref(), "{event}");
        let is_last = n == frames.len() - 1;
        match event["type"].as_str().unwrap() {
            "message_start" => {
                assert_eq!(n, 0);
                read.id = text(&event["message"]["id"]);
                assert!(event["message"]["usage"]["input_tokens"].as_u64().unwrap() > 0, "{event}");
            }
            "content_block_start" => {
                let block = &event["content_block"];
                if block["type"] == "tool_use" {
                    blocks.insert(event["index"].as_u64().unwrap(), read.calls.len());
                    read.calls.push((text(&block["id"]), text(&block["name"]), String::new()));
                }
            }
            "content_block_delta" => match event["delta"]["type"].as_str().unwrap() {
                "text_delta" => read.text.push_str(event["delta"]["text"].as_str().unwrap()),
                "input_json_delta" => {
                    let call = blocks[&event["index"].as_u64().unwrap()];
                    read.calls[call].2.push_str(event["delta"]["partial_json"].as_str().unwrap());
                }
                other => panic!("{other}"),
            },
            "content_block_stop" | "ping" => {}
            "message_delta" => {
                read.finish = message_finish(&event["delta"]["stop_reason"]);
                read.usage = event["usage"].clone();
            }
            "message_stop" => assert!(is_last && !read.finish.is_empty()),
            "error" => {
                assert!(is_last);
                read.error = event["error"].clone();
            }
            other => panic!("{other}"),
        }
    }
    assert!(!read.finish.is_empty() || !read.error.is_null(), "no end: {stream}");
    read
}

/// A session that pays for requests of the AI API.
pub(crate) struct AiSession<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) id: String,
    pub(crate) macaroon: String,
}

impl AiSession<'_> {
    /// A request that this session pays for.
    pub(crate) fn request(&self, wire: Wire, body: &Value) -> RequestBuilder {
        self.app.ai_request(wire, body).header("Authorization", format!("Bearer {}", self.macaroon))
    }

    pub(crate) async fn ask(&self, wire: Wire, body: &Value) -> Answer {
        self.app.ai_send(self.request(wire, body)).await
    }

    /// Reads a path with the key of this session.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.app.ai_get(&self.macaroon, path).await
    }

    /// The session's balance. Nothing is held.
    pub(crate) async fn balance(&self) -> u64 {
        let request = self.app.request(Method::GET, &format!("/api/sessions/{}", self.id));
        let session =
            self.app.send(request.header("Authorization", format!("Bearer {}", self.macaroon))).await;
        let session = session.ok(200);
        assert_eq!(session["heldMsats"], 0, "{session}");
        session["balanceMsats"].as_u64().unwrap()
    }

    /// What a request used and cost.
    pub(crate) async fn generation(&self, id: &str) -> Value {
        self.get(&format!("/v1/generation?id={id}")).await.ok(200)["data"].clone()
    }
}

impl TestApp {
    /// A server with a scripted backend.
    pub(crate) fn scripted(options: Options) -> (Self, Arc<Scripted>) {
        let backend = Arc::new(Scripted::default());
        let app = Self::with(Options { inference: Some(backend.clone()), ..options });
        (app, backend)
    }

    /// Opens a session with this deposit.
    pub(crate) async fn ai_session(&self, sats: u64) -> AiSession<'_> {
        let created = self.post("/api/sessions", json!({ "amountSats": sats }).to_string()).await.ok(201);
        self.pay(created["invoice"]["paymentHash"].as_str().unwrap()).await;
        AiSession { app: self, id: text(&created["sessionId"]), macaroon: text(&created["macaroon"]) }
    }

    /// A request of the AI API without a payer.
    pub(crate) fn ai_request(&self, wire: Wire, body: &Value) -> RequestBuilder {
        self.request(Method::POST, wire.path()).body(body.to_string())
    }

    /// Sends a request of the AI API, and checks what every response has.
    pub(crate) async fn ai_send(&self, request: RequestBuilder) -> Answer {
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert!(uuid::Uuid::parse_str(answer.header("x-request-id")).is_ok(), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_ne!(answer.status, 500, "{answer:?}");
        self.saw(&answer.text);
        answer
    }

    /// Reads a path of the AI API with this key.
    pub(crate) async fn ai_get(&self, key: &str, path: &str) -> Answer {
        self.ai_send(self.request(Method::GET, path).header("Authorization", format!("Bearer {key}"))).await
    }

    /// The transfers that were made for a request, by kind.
    pub(crate) async fn moved(&self, request: &str) -> Moved {
        let (engine, reference) = (self.engine.clone(), request.parse::<uuid::Uuid>().unwrap());
        let transfers = self
            .on_runtime(async move {
                let rows: Vec<_> = engine.ports().store.audit_rows().await.unwrap().collect().await;
                let transfers = rows.into_iter().filter_map(|row| match row.unwrap() {
                    AuditRow::Transfer(transfer) if transfer.reference == reference => Some(transfer),
                    _ => None,
                });
                transfers.collect::<Vec<Transfer>>()
            })
            .await;
        let mut moved = Moved::default();
        for transfer in transfers {
            let sum = match transfer.kind {
                TransferKind::Charge | TransferKind::Tithe => &mut moved.charged,
                TransferKind::Grant => &mut moved.granted,
                TransferKind::InstallCredit => &mut moved.included,
                TransferKind::Uncollected => &mut moved.uncollected,
                other => panic!("{other:?} for a request"),
            };
            *sum += transfer.amount.get();
        }
        moved
    }

    /// What this usage of `sim-large` costs, in msats: the backend's count at the quoted rates.
    pub(crate) async fn price(&self, usage: &Usage) -> u64 {
        let settings = self.engine.settings();
        let btc = self.engine.ports().prices.btc_price().await.unwrap();
        let terms = Terms { margin: settings.margin, fixed_cost: settings.fixed_cost, btc };
        let catalogue = Catalogue::built_in();
        let quote = catalogue.model("sim-large").unwrap().quote(&["x"], Some(400), &terms).unwrap();
        quote.price(usage).unwrap().msats.get()
    }
}

/// What the ledger moved for a request, in msats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// From the session, the pool's share included.
    pub(crate) charged: u64,
    /// By the pool.
    pub(crate) granted: u64,
    /// As a part of the plan of an install.
    pub(crate) included: u64,
    /// The operator's loss.
    pub(crate) uncollected: u64,
}
