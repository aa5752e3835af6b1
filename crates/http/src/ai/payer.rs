//! Having a request of the AI API done, for whoever pays for it.

use super::answered::StoreAnswer;
use super::wire::{AiAnswer, AnswerMeta, Wire};
use crate::credentials::Incoming;
use crate::idempotency;
use crate::payers::{self};
use crate::problem::{self, Code, Problem};
use crate::state::AppState;
use crate::wanted::Wanted;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_chat::{Chat, EmbeddingTask};
use tithe_engine::metered::Prompt;
use tithe_engine::{EngineError, RequestError};
use tithe_pricing::{Purpose, QuoteError};
use tithe_sessions::{SessionError, StateName};

/// A request of the AI API, as its wire has read it.
pub(crate) struct Asked {
    /// The model, as the client calls it.
    pub(crate) model: String,
    /// What is asked for.
    pub(crate) chat: Chat,
    /// Whether the answer is sent as it is generated.
    pub(crate) is_stream: bool,
}

/// Has a request done, and answers it on its wire.
pub(crate) async fn have_answered(
    state: &AppState,
    request: &HttpRequest,
    body: &[u8],
    asked: Asked,
    wire: Box<dyn Wire>,
) -> Result<HttpResponse, Problem> {
    let Asked { model, chat, is_stream } = asked;
    let limit = output_limit(state, &model, Purpose::Chat)?;
    // What a client says is the most that it can use: less is offered without a word.
    let max_output_tokens = chat.max_output_tokens.map(|most| most.clamp(1, limit));
    let work =
        Work { model, prompt: Prompt::chat(chat, body), max_output_tokens, is_stream, problem: problem_of };
    have_done(state, request, body, work, wire).await
}

/// Has texts embedded, and answers on the wire.
pub(crate) async fn have_embedded(
    state: &AppState,
    request: &HttpRequest,
    body: &[u8],
    (model, task): (String, EmbeddingTask),
    wire: Box<dyn Wire>,
) -> Result<HttpResponse, Problem> {
    output_limit(state, &model, Purpose::Embeddings)?;
    let work = Work {
        model,
        prompt: Prompt::embeddings(task, body),
        max_output_tokens: None,
        is_stream: false,
        problem: problem_of_embeddings,
    };
    have_done(state, request, body, work, wire).await
}

/// The output limit of a model that is offered for this.
fn output_limit(state: &AppState, model: &str, wanted: Purpose) -> Result<u64, Problem> {
    let known = state.engine.quotes.offered_model(model).ok_or_else(|| Problem::unknown_model(model))?;
    match known.check_purpose(wanted) {
        Ok(()) => Ok(known.max_output_tokens.max(1)),
        Err(wrong) => {
            Err(Problem::new(Code::InvalidField, wrong.to_string()).about_parameter(Some("model".to_owned())))
        }
    }
}

/// What is to be done of a request.
struct Work {
    model: String,
    prompt: Prompt,
    max_output_tokens: Option<u64>,
    is_stream: bool,
    problem: fn(EngineError) -> Problem,
}

async fn have_done(
    state: &AppState,
    request: &HttpRequest,
    body: &[u8],
    work: Work,
    wire: Box<dyn Wire>,
) -> Result<HttpResponse, Problem> {
    let Work { model, prompt, max_output_tokens, is_stream, problem } = work;
    let key = idempotency::read_or_derive(request, body, state.engine.settings())?;
    let incoming = Incoming::with_body(request, body, None)?.with_bearer().with_api_key().with_proofs();
    let (id, created) = (state.engine.new_id(), state.engine.ports().clock.now().unix_micros() / 1_000_000);
    let store = Arc::new(StoreAnswer { created });
    let wanted = Wanted {
        id: Some(id),
        prompt,
        model: Some(model),
        max_output_tokens,
        is_stream,
        of_session: Arc::<StoreAnswer>::clone(&store),
        of_others: store,
        format: AiAnswer::new(wire, AnswerMeta { id, created }),
        problem,
    };
    payers::have_done(state, request, &incoming, key, wanted).await
}

/// As [`problem_of`], of a request for embeddings.
fn problem_of_embeddings(failure: EngineError) -> Problem {
    match &failure {
        EngineError::Request(wrong @ RequestError::InputTooLong { index, .. }) => {
            Problem::new(Code::ContextLengthExceeded, wrong.to_string())
                .about_parameter(Some(format!("input[{index}]")))
        }
        EngineError::Request(wrong @ RequestError::InputsTooLong { .. }) => {
            Problem::new(Code::InvalidField, wrong.to_string()).about_parameter(Some("input".to_owned()))
        }
        _ => problem_of(failure),
    }
}

/// The problem for a failure, in words that clients of the AI API know.
fn problem_of(failure: EngineError) -> Problem {
    match &failure {
        EngineError::Request(RequestError::UnknownModel { .. } | RequestError::ModelNotIncluded { .. }) => {
            Problem::new(Code::ModelNotFound, format!("unknown model: {failure}"))
                .about_parameter(Some("model".to_owned()))
        }
        EngineError::Request(RequestError::Quote(QuoteError::TooLong { input_tokens, limit, .. })) => {
            // Claude Code knows a prompt that does not fit by these words, and shortens it.
            let detail = format!("prompt is too long: {input_tokens} tokens > {limit} maximum");
            Problem::new(Code::ContextLengthExceeded, detail).about_parameter(Some("messages".to_owned()))
        }
        EngineError::SessionState(ended) if *ended != SessionError::NotActive(StateName::AwaitingPayment) => {
            // A 409 would be tried again.
            Problem::new(Code::PaymentRequired, "the session has ended: open another one")
                .with_extension("reason", "expired")
                .with_extension("balanceSats", 0)
                .with_extension(problem::TOP_UP, problem::session())
        }
        _ => Problem::from(failure),
    }
}
