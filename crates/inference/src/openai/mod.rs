//! Endpoints that are compatible with OpenAI's APIs of chat completions and of embeddings.

mod embeddings;
mod events;

use crate::chat_stream;
use crate::failure::{BackendFailure, of_request};
use crate::sampling::ZeroTemperature;
use crate::transport::{Answer, ApiKey, BaseUrl, Delivery, Limits, SetupError, Transport};
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tithe_chat::{Api, Finish, Reply};
use tithe_engine::inference::{
    ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_openai_chat::backend::{BackendRequest, Dialect, WholeReply, decode_reply, encode_request};

const VENDOR_HOST: &str = "api.openai.com";

/// The field that limits the output. OpenAI's models that reason take only the newer one, and many other servers know
/// only the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputLimitField {
    /// `max_completion_tokens` at `api.openai.com`, `max_tokens` anywhere else.
    #[default]
    Auto,
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

impl OutputLimitField {
    fn is_newer(self, base_url: &BaseUrl) -> bool {
        match self {
            Self::Auto => base_url.has_host(VENDOR_HOST),
            Self::MaxTokens => false,
            Self::MaxCompletionTokens => true,
        }
    }
}

/// The settings of an OpenAI-compatible backend.
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// The address that `/chat/completions` and `/embeddings` are appended to, such as `https://api.openai.com/v1`.
    pub base_url: BaseUrl,
    /// The key, sent as a bearer token; many local servers need none.
    pub api_key: Option<ApiKey>,
    /// The field that limits the output.
    pub output_limit_field: OutputLimitField,
    /// How deterministic completions are requested.
    pub zero_temperature: ZeroTemperature,
    /// Whether usage is requested by `stream_options`. A backend that refuses it is not asked again.
    pub stream_options: bool,
    /// The timeouts and size limits.
    pub limits: Limits,
}

impl OpenAiSettings {
    /// The backend at `base_url`, with the defaults for everything else.
    #[must_use]
    pub fn new(base_url: BaseUrl, api_key: Option<ApiKey>) -> Self {
        Self {
            base_url,
            api_key,
            output_limit_field: OutputLimitField::default(),
            zero_temperature: ZeroTemperature::default(),
            stream_options: true,
            limits: Limits::default(),
        }
    }
}

/// A backend that speaks OpenAI's APIs of chat completions and of embeddings: OpenAI itself, and most other hosted and self-hosted servers.
#[derive(Debug)]
pub struct OpenAiCompatible {
    transport: Transport,
    embeddings: Transport,
    /// As configured, and as the backend has shown since.
    dialect: Mutex<Dialect>,
}

impl OpenAiCompatible {
    /// Creates a backend with its own connections. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SetupError`] if the system provides no secure way to connect.
    pub fn new(settings: OpenAiSettings) -> Result<Self, SetupError> {
        let OpenAiSettings {
            base_url,
            api_key,
            output_limit_field,
            zero_temperature,
            stream_options,
            limits,
        } = settings;
        let dialect = Dialect {
            max_completion_tokens: output_limit_field.is_newer(&base_url),
            zero_temperature: zero_temperature.resolve(&base_url, VENDOR_HOST),
            stream_options,
        };
        let headers: HeaderMap = api_key.iter().map(|key| (AUTHORIZATION, key.header("Bearer "))).collect();
        let transport = Transport::new(base_url.endpoint(&["chat", "completions"]), headers, limits)?;
        let embeddings = transport.at(base_url.endpoint(&["embeddings"]));
        Ok(Self { transport, embeddings, dialect: Mutex::new(dialect) })
    }

    /// Sends the request. If the backend names a parameter that it does not take, the request is sent once more without it, and
    /// the backend is remembered to be so.
    async fn ask(&self, request: &ChatRequest, delivery: Delivery) -> Result<Answer, InferenceError> {
        let dialect = *self.dialect();
        let error =
            match self.transport.post(body(request, dialect, delivery), HeaderMap::new(), delivery).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
        let adaptable = |failure: &&BackendFailure| !failure.reached_output_limit();
        let failure = BackendFailure::behind(&error).filter(adaptable);
        let adapted =
            failure.and_then(|failure| dialect.adapted(|parameter| failure.names_parameter(parameter)));
        let Some(adapted) = adapted else { return Err(of_request(request, error)) };
        let body = body(request, adapted, delivery);
        let answer = self.transport.post(body, HeaderMap::new(), delivery).await;
        let answer = answer.map_err(|error| of_request(request, error))?;
        tracing::info!(dialect = ?adapted, "the AI backend does not take a parameter; it is no longer sent");
        *self.dialect() = adapted;
        Ok(answer)
    }

    fn dialect(&self) -> MutexGuard<'_, Dialect> {
        self.dialect.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a request.
fn body(request: &ChatRequest, dialect: Dialect, delivery: Delivery) -> Vec<u8> {
    let ChatRequest { model, chat, max_output_tokens, deterministic } = request;
    let asked = BackendRequest {
        model,
        max_output_tokens: *max_output_tokens,
        stream: delivery == Delivery::Streamed,
        deterministic: *deterministic,
        dialect,
    };
    let mut body = Vec::new();
    encode_request(&mut body, chat, &asked);
    body
}

async fn whole(answer: Answer) -> Result<Completion, InferenceError> {
    let body = answer.body().await?;
    let WholeReply { reply, usage } =
        decode_reply(&body).map_err(|error| events::failed(error, &body, false))?;
    Ok(Completion { reply, usage })
}

/// The completion whose output limit was used up before any text: an answer, not a mistake in the request.
fn without_text(error: InferenceError) -> Result<Completion, InferenceError> {
    if BackendFailure::behind(&error).is_some_and(BackendFailure::reached_output_limit) {
        return Ok(Completion { reply: Reply { parts: Vec::new(), finish: Finish::Length }, usage: None });
    }
    Err(error)
}

#[async_trait]
impl Inference for OpenAiCompatible {
    fn api(&self) -> Option<Api> {
        Some(Api::OpenAiChat)
    }

    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        match self.ask(request, Delivery::Whole).await {
            Ok(answer) => whole(answer).await,
            Err(error) => without_text(error),
        }
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let answer = match self.ask(request, Delivery::Streamed).await {
            Ok(answer) => answer,
            Err(error) => return Ok(chat_stream::of_whole(without_text(error)?)),
        };
        if answer.is_json() {
            return Ok(chat_stream::of_whole(whole(answer).await?));
        }
        Ok(chat_stream::read(answer, events::ChatChunks::default()))
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        embeddings::embed(&self.embeddings, request).await
    }
}
