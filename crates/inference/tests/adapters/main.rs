//! The adapters against servers on this machine.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod anthropic;
mod guarded;
mod openai;
mod raw_server;
mod sim;
mod transport;

use futures_util::StreamExt as _;
use std::sync::Arc;
use tithe_chat::{Chat, Delta, Finish, Message, Part, Reply, Role};
use tithe_engine::inference::{ChatEvent, ChatRequest, ChatStream, Completion, InferenceError};
use tithe_pricing::Usage;

/// A chat of these messages.
fn chat(messages: Vec<Message>) -> Arc<Chat> {
    Arc::new(Chat { messages, ..Chat::default() })
}

/// A completion of one text.
fn completed(text: &str, finish: Finish, usage: Option<Usage>) -> Completion {
    Completion { reply: Reply { parts: vec![Part::Text(text.to_owned())], finish }, usage }
}

/// A chat of one question.
fn ask(question: &str) -> ChatRequest {
    ChatRequest {
        model: "tiny".to_owned(),
        chat: chat(vec![Message::text(Role::System, "Be kind."), Message::text(Role::User, question)]),
        max_output_tokens: 64,
        deterministic: true,
    }
}

/// Reads a stream to its end: the deltas, and how it ended.
async fn read(mut stream: ChatStream) -> (Vec<String>, Result<ChatEvent, InferenceError>) {
    let mut deltas = Vec::new();
    loop {
        match stream.next().await {
            Some(Ok(ChatEvent::Delta(Delta::Text(text)))) => {
                assert!(!text.is_empty(), "deltas are never empty");
                deltas.push(text);
            }
            Some(Ok(ChatEvent::Delta(_) | ChatEvent::Used(_))) => {}
            Some(end) => {
                assert!(stream.next().await.is_none(), "nothing follows the end");
                return (deltas, end);
            }
            None => panic!("the stream stopped without an end after {deltas:?}"),
        }
    }
}

/// All that the operator's log would show of an error.
fn chain(error: &InferenceError) -> String {
    let first: &dyn std::error::Error = error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
