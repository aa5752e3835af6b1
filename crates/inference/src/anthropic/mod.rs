//! Anthropic's messages API.

mod events;

use crate::chat_stream;
use crate::failure::{BackendFailure, of_request};
use crate::sampling::ZeroTemperature;
use crate::transport::{Answer, ApiKey, BaseUrl, Delivery, Limits, SetupError, Transport};
use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::{AtomicBool, Ordering};
use tithe_anthropic_messages::backend::{
    BackendRequest, EffortStyle, SamplingStyle, backend_headers, encode_request, parse_reply,
};
use tithe_chat::Api;
use tithe_engine::inference::{
    ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};

const VENDOR_HOST: &str = "api.anthropic.com";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));

/// The settings of a backend with Anthropic's messages API.
#[derive(Debug, Clone)]
pub struct AnthropicSettings {
    /// The address that `/v1/messages` is appended to, such as `https://api.anthropic.com`; or with the `/v1` already.
    pub base_url: BaseUrl,
    /// The key; Anthropic's own API needs one, local servers may not.
    pub api_key: Option<ApiKey>,
    /// How deterministic completions are requested.
    pub zero_temperature: ZeroTemperature,
    /// The timeouts and size limits.
    pub limits: Limits,
}

impl AnthropicSettings {
    /// The backend at `base_url`, with the defaults for everything else.
    #[must_use]
    pub fn new(base_url: BaseUrl, api_key: Option<ApiKey>) -> Self {
        Self { base_url, api_key, zero_temperature: ZeroTemperature::default(), limits: Limits::default() }
    }
}

/// A backend that speaks Anthropic's messages API.
#[derive(Debug)]
pub struct Anthropic {
    transport: Transport,
    /// As configured, and as the backend has shown since.
    zero_temperature: AtomicBool,
}

impl Anthropic {
    /// Creates a backend with its own connections. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] if the system provides no secure way to connect.
    pub fn new(settings: AnthropicSettings) -> Result<Self, SetupError> {
        let AnthropicSettings { base_url, api_key, zero_temperature, limits } = settings;
        let key = api_key.iter().map(|key| (API_KEY, key.header("")));
        let headers: HeaderMap = key.chain([VERSION]).collect();
        let path: &[&str] =
            if base_url.last_segment() == Some("v1") { &["messages"] } else { &["v1", "messages"] };
        Ok(Self {
            transport: Transport::new(base_url.endpoint(path), headers, limits)?,
            zero_temperature: AtomicBool::new(zero_temperature.resolve(&base_url, VENDOR_HOST)),
        })
    }

    async fn ask(&self, request: &ChatRequest, delivery: Delivery) -> Result<Answer, InferenceError> {
        let zero_temperature = self.zero_temperature.load(Ordering::Relaxed);
        let headers = headers_of(request);
        let first = body(request, delivery, zero_temperature);
        let error = match self.transport.post(first, headers.clone(), delivery).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let named =
            BackendFailure::behind(&error).is_some_and(|failure| failure.names_parameter("temperature"));
        if !(zero_temperature && request.deterministic && named) {
            return Err(of_request(request, error));
        }
        let answer = self.transport.post(body(request, delivery, false), headers, delivery).await;
        let answer = answer.map_err(|error| of_request(request, error))?;
        tracing::info!("the AI backend does not take a temperature; it is no longer sent");
        self.zero_temperature.store(false, Ordering::Relaxed);
        Ok(answer)
    }
}

/// The body of a request.
fn body(request: &ChatRequest, delivery: Delivery, zero_temperature: bool) -> Vec<u8> {
    let ChatRequest { model, chat, max_output_tokens, deterministic } = request;
    let asked = BackendRequest {
        model,
        max_output_tokens: *max_output_tokens,
        stream: delivery == Delivery::Streamed,
        deterministic: *deterministic,
        zero_temperature,
        effort: EffortStyle::default(),
        sampling: SamplingStyle::default(),
    };
    let mut body = Vec::new();
    encode_request(&mut body, chat, &asked);
    body
}

/// The headers of the client's own request that say which version of the API it is written for.
fn headers_of(request: &ChatRequest) -> HeaderMap {
    let original = request.chat.original.iter().filter(|original| original.api == Api::AnthropicMessages);
    let headers = original.flat_map(backend_headers).filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    headers.collect()
}

async fn whole(answer: Answer) -> Result<Completion, InferenceError> {
    let body = answer.body().await?;
    let (reply, usage) = parse_reply(&body).map_err(|error| events::failed(error, &body, false))?;
    Ok(Completion { reply, usage })
}

#[async_trait]
impl Inference for Anthropic {
    fn api(&self) -> Option<Api> {
        Some(Api::AnthropicMessages)
    }

    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        whole(self.ask(request, Delivery::Whole).await?).await
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let answer = self.ask(request, Delivery::Streamed).await?;
        if answer.is_json() {
            return Ok(chat_stream::of_whole(whole(answer).await?));
        }
        Ok(chat_stream::read(answer, events::MessageEvents::default()))
    }

    async fn embed(&self, _request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        Err(BackendFailure::NoEmbeddings.misconfigured())
    }
}
