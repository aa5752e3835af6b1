//! Having a request of the AI API done, for whoever pays for it.

use super::answered::StoreAnswer;
use super::wire::{AiAnswer, AnswerMeta, Wire};
use crate::credentials::Incoming;
use crate::idempotency;
use crate::payers::{self, Wanted};
use crate::problem::{self, Code, Problem};
use crate::state::AppState;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tithe_chat::Chat;
use tithe_engine::metered::Prompt;
use tithe_engine::{EngineError, RequestError};
use tithe_pricing::QuoteError;
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
    let Some(known) = state.engine.quotes.offered_model(&model) else {
        return Err(Problem::unknown_model(&model));
    };
    // What a client says is the most that it can use: less is offered without a word.
    let max_output_tokens = chat.max_output_tokens.map(|most| most.clamp(1, known.max_output_tokens));
    let key = idempotency::read_or_derive(request, body, state.engine.settings())?;
    let incoming = Incoming::with_body(request, body, None)?.with_bearer().with_api_key();
    let (id, created) = (state.engine.new_id(), state.engine.ports().clock.now().unix_micros() / 1_000_000);
    let store = Arc::new(StoreAnswer { created });
    let wanted = Wanted {
        id: Some(id),
        prompt: Prompt::chat(chat, body),
        model: Some(model),
        max_output_tokens,
        is_stream,
        of_session: Arc::<StoreAnswer>::clone(&store),
        of_others: store,
        format: AiAnswer::new(wire, AnswerMeta { id, created }),
        problem: problem_of,
    };
    payers::have_done(state, request, &incoming, key, wanted).await
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
