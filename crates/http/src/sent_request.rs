//! Requests that are kept with their offers: what is kept of one, and what it is read as.

use crate::ai::render_answer;
use crate::body;
use crate::credentials::Incoming;
use crate::decisive_headers::{DecisiveHeaders, decisive_headers};
use crate::mounted;
use crate::routes::plain_answer::PlainReply;
use crate::state::AppState;
use crate::wire::AskBody;
use actix_web::HttpRequest;
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

/// What can be kept of a request: everything that changes what is done, and no credential; `None` if the server keeps none, it is too
/// large, it has a token in its query or its body, or what is to be kept is not text.
pub(crate) fn sent(
    state: &AppState,
    request: &HttpRequest,
    incoming: &Incoming<'_>,
) -> Option<Arc<SentRequest>> {
    let body = incoming.body();
    if !state.engine.sessions.may_keep(body.len()) || incoming.has_body_token() {
        return None;
    }
    let query = Some(request.query_string()).filter(|query| !query.is_empty());
    if mounted::query_passed_on(request.query_string()).as_deref() != query {
        return None;
    }
    let headers = match request.app_data::<DecisiveHeaders>() {
        Some(DecisiveHeaders(named)) => mounted::headers_passed_on(request, named),
        None => decisive_headers(request)
            .into_iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
    };
    let headers = headers.into_iter().map(|(name, value)| Some((name, String::from_utf8(value).ok()?)));
    Some(Arc::new(SentRequest {
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        query: query.map(str::to_owned),
        headers: headers.collect::<Option<_>>()?,
        body: body.to_vec(),
    }))
}

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
        match sent.path.as_str() {
            "/api/ask" => {
                let AskBody { request, .. } = body::json(bytes).ok()?;
                // No request is being answered: a response that is a problem has an id of its own.
                let id = uuid::Builder::from_random_bytes(self.entropy.bytes()).into_uuid();
                let render: Arc<dyn RenderRequest> = Arc::new(PlainReply::to(id.to_string()));
                Some(ReadRequest { prompt: Prompt::text(request), render })
            }
            "/v1/chat/completions" => {
                let read = ChatCompletionRequest::decode(bytes).ok()?;
                Some(self.of_ai(Prompt::chat(read.chat, bytes)))
            }
            "/v1/responses" => {
                let read = ResponsesRequest::decode(bytes).ok()?;
                Some(self.of_ai(Prompt::chat(read.chat, bytes)))
            }
            "/v1/messages" => {
                let headers = sent.headers.iter().filter(|(name, _)| name.starts_with("anthropic-"));
                let read = MessagesRequest::decode(bytes, headers.cloned().collect()).ok()?;
                Some(self.of_ai(Prompt::chat(read.chat, bytes)))
            }
            "/v1/embeddings" => {
                let read = EmbeddingsRequest::decode(bytes).ok()?;
                Some(self.of_ai(Prompt::embeddings(read.task, bytes)))
            }
            _ => self.mounts.iter().find_map(|mount| {
                let (prompt, render) = mounted::read(mount, sent)?;
                Some(ReadRequest { prompt, render })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paid_request::PATHS;
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
        assert!(reader.read(&sent("/elsewhere", "{}")).is_none());
    }
}
