//! Clients of the AI API.

use super::ai_reading::{Read, message_finish, read_chunks, read_message_events, read_response_events, text};
use super::{Answer, Options, Scripted, TestApp};
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::sync::Arc;
use tithe_engine::store::AuditRow;
use tithe_ledger::{Transfer, TransferKind};
use tithe_pricing::{Catalogue, InputTokens, Priced, Terms, Usage};

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
                choice["message"]["content"].as_str().unwrap_or_default().clone_into(&mut read.text);
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

    /// All that was booked as the operator's loss, in msats.
    pub(crate) async fn uncollected(&self) -> u64 {
        let engine = self.engine.clone();
        self.on_runtime(async move {
            let rows: Vec<_> = engine.ports().store.audit_rows().await.unwrap().collect().await;
            let losses = rows.into_iter().filter_map(|row| match row.unwrap() {
                AuditRow::Transfer(transfer) if transfer.kind == TransferKind::Uncollected => {
                    Some(transfer.amount.get())
                }
                _ => None,
            });
            losses.sum()
        })
        .await
    }

    /// What so many tokens of `sim-embedding` cost, in msats.
    pub(crate) async fn embedding_price(&self, tokens: u64) -> u64 {
        let catalogue = Catalogue::built_in();
        let terms = self.terms().await;
        let input = InputTokens::exactly(tokens);
        let quote = catalogue.model("sim-embedding").unwrap().quote_embeddings(input, &terms).unwrap();
        quote.max.msats.get()
    }

    async fn terms(&self) -> Terms {
        let settings = self.engine.settings();
        let btc = self.engine.ports().prices.btc_price().await.unwrap();
        Terms { margin: settings.margin, fixed_cost: settings.fixed_cost, btc }
    }

    /// What this usage of `sim-large` costs, in msats: the backend's count at the quoted rates.
    pub(crate) async fn price(&self, usage: &Usage) -> u64 {
        self.price_on("sim-large", usage).await
    }

    /// What this usage of a model costs, in msats.
    pub(crate) async fn price_on(&self, model: &str, usage: &Usage) -> u64 {
        let terms = self.terms().await;
        let catalogue = Catalogue::built_in();
        let quote = catalogue.model(model).unwrap().quote(&["x"], Some(400), &terms).unwrap();
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
