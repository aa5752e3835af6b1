//! Reading requests that were kept with their offers.

use crate::ai::render_answer;
use crate::body;
use crate::mounted;
use crate::paid_request::PaidPath;
use crate::routes::plain_answer::PlainReply;
use crate::state::AppState;
use crate::wire::AskBody;
use std::sync::Arc;
use tithe_anthropic_messages::MessagesRequest;
use tithe_clock::{Clock, Entropy};
use tithe_engine::Ports;
use tithe_engine::metered::Prompt;
use tithe_engine::mounts::Mount;
use tithe_engine::sessions::{ReadRequest, ReadSent, RenderRequest};
use tithe_openai_chat::ChatCompletionRequest;
use tithe_openai_chat::embeddings::EmbeddingsRequest;
use tithe_openai_responses::ResponsesRequest;
use tithe_sessions::SentRequest;

/// Reads kept requests as their routes do.
pub(crate) struct SentReader {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    mounts: Vec<Arc<Mount>>,
}

impl SentReader {
    /// Reads the requests of a server.
    pub(crate) fn new(state: &AppState) -> Self {
        // Not the engine, which has this.
        let Ports { clock, entropy, .. } = state.engine.ports();
        Self { clock: Arc::clone(clock), entropy: Arc::clone(entropy), mounts: state.mounts.clone() }
    }

    /// What a request to the AI API is answered with.
    fn of_ai(&self, prompt: Prompt) -> ReadRequest {
        ReadRequest { prompt, render: render_answer(self.clock.now().unix_micros() / 1_000_000) }
    }
}

impl ReadSent for SentReader {
    fn read(&self, sent: &SentRequest) -> Option<ReadRequest> {
        let bytes = &sent.body;
        let Some(path) = PaidPath::at(&sent.path) else {
            return self.mounts.iter().find_map(|mount| {
                let (prompt, render) = mounted::read(mount, sent)?;
                Some(ReadRequest { prompt, render })
            });
        };
        match path {
            PaidPath::Ask => {
                let AskBody { request, .. } = body::json(bytes).ok()?;
                // No request is being answered: a response that is a problem has an id of its own.
                let id = uuid::Builder::from_random_bytes(self.entropy.bytes()).into_uuid();
                let render: Arc<dyn RenderRequest> = Arc::new(PlainReply::to(id.to_string()));
                Some(ReadRequest { prompt: Prompt::text(request), render })
            }
            PaidPath::ChatCompletions => {
                let read = ChatCompletionRequest::decode(bytes).ok()?;
                Some(self.of_ai(Prompt::chat(read.chat, bytes)))
            }
            PaidPath::Responses => {
                let read = ResponsesRequest::decode(bytes).ok()?;
                Some(self.of_ai(Prompt::chat(read.chat, bytes)))
            }
            PaidPath::Messages => {
                let headers = sent.headers.iter().filter(|(name, _)| name.starts_with("anthropic-"));
                let read = MessagesRequest::decode(bytes, headers.cloned().collect()).ok()?;
                Some(self.of_ai(Prompt::chat(read.chat, bytes)))
            }
            PaidPath::Embeddings => {
                let read = EmbeddingsRequest::decode(bytes).ok()?;
                Some(self.of_ai(Prompt::embeddings(read.task, bytes)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paid_request::{MCP_PATH, PATHS};
    use tithe_clock::{SystemClock, SystemEntropy};

    fn sent(path: &str, body: &str) -> SentRequest {
        SentRequest {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: None,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn what_every_path_takes_is_read_again() {
        let reader =
            SentReader { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), mounts: Vec::new() };
        let bodies = [
            r#"{"request":"hello"}"#,
            r#"{"model":"sim-small","messages":[{"role":"user","content":"hello"}]}"#,
            r#"{"model":"sim-small","input":"hello"}"#,
            r#"{"model":"sim-small","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#,
            r#"{"model":"sim-embedding","input":"hello"}"#,
        ];
        for (path, body) in PATHS.into_iter().zip(bodies) {
            assert!(reader.read(&sent(path, body)).is_some(), "{path}");
            assert!(reader.read(&sent(path, "{}")).is_none(), "{path}");
        }
        for path in ["/elsewhere", MCP_PATH] {
            assert!(bodies.iter().all(|body| reader.read(&sent(path, body)).is_none()), "{path}");
        }
    }
}
