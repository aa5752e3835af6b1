//! The adapters against a real llama-server.
//!
//! It must know the model `tiny` and be started with an API key:
//!
//! ```text
//! llama-server -m tiny.gguf --alias tiny --api-key sk-lab --port 4200
//! TITHE_TEST_LLAMA_URL=http://127.0.0.1:4200 TITHE_TEST_LLAMA_KEY=sk-lab \
//!     cargo test -p tithe-inference --test llama -- --ignored
//! ```
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use futures_util::TryStreamExt as _;
use std::env;
use std::sync::Arc;
use tithe_chat::{Chat, Finish, Message, Role};
use tithe_engine::inference::{ChatEvent, ChatRequest, Inference, InferenceError};
use tithe_inference::{Anthropic, AnthropicSettings, ApiKey, OpenAiCompatible, OpenAiSettings};

const OUTPUT_TOKENS: u64 = 12;

fn request() -> ChatRequest {
    ChatRequest {
        model: "tiny".to_owned(),
        chat: Arc::new(Chat {
            messages: vec![
                Message::text(Role::System, "Be brief."),
                Message::text(Role::User, "Tell me of the first people."),
            ],
            ..Chat::default()
        }),
        max_output_tokens: OUTPUT_TOKENS,
        deterministic: true,
    }
}

fn backends(key: &str) -> [(&'static str, Box<dyn Inference>); 2] {
    let url = env::var("TITHE_TEST_LLAMA_URL").expect("TITHE_TEST_LLAMA_URL names a llama-server");
    let key: ApiKey = key.parse().unwrap();
    let openai = OpenAiSettings::new(format!("{url}/v1").parse().unwrap(), Some(key.clone()));
    let anthropic = AnthropicSettings::new(url.parse().unwrap(), Some(key));
    [
        ("openai", Box::new(OpenAiCompatible::new(openai).unwrap())),
        ("anthropic", Box::new(Anthropic::new(anthropic).unwrap())),
    ]
}

fn right_key() -> String {
    env::var("TITHE_TEST_LLAMA_KEY").expect("TITHE_TEST_LLAMA_KEY is the server's key")
}

#[tokio::test]
#[ignore = "needs a llama-server"]
async fn whole_completions_have_text_and_real_usage() {
    for (api, backend) in backends(&right_key()) {
        let completion = backend.complete(&request()).await.unwrap();
        assert!(!completion.reply.text().is_empty(), "{api}");
        assert_eq!(completion.reply.finish, Finish::Length, "{api}");
        let usage = completion.usage.expect("llama-server reports usage");
        assert_eq!(usage.output_tokens, OUTPUT_TOKENS, "{api}");
        assert!(usage.input_tokens > usage.cached_input_tokens, "{api}: {usage:?}");
    }
}

#[tokio::test]
#[ignore = "needs a llama-server"]
async fn streams_say_what_completions_say() {
    for (api, backend) in backends(&right_key()) {
        let whole = backend.complete(&request()).await.unwrap();
        let mut events: Vec<_> = backend.stream(&request()).await.unwrap().try_collect().await.unwrap();
        let Some(ChatEvent::Finished { finish, usage: Some(usage) }) = events.pop() else {
            unreachable!("{api}: the stream ends with its usage")
        };
        assert_eq!(finish, Finish::Length, "{api}");
        assert_eq!(usage.output_tokens, OUTPUT_TOKENS, "{api}");
        assert_eq!(usage.input_tokens, whole.usage.unwrap().input_tokens, "{api}: cached or not");
        let deltas = events.into_iter().map(|event| match event {
            ChatEvent::Delta(delta) => delta.written().to_owned(),
            ChatEvent::Used(_) => String::new(),
            ChatEvent::Finished { .. } => unreachable!("{api}: there is one end"),
        });
        assert_eq!(deltas.collect::<String>(), whole.reply.text(), "{api}");
    }
}

#[tokio::test]
#[ignore = "needs a llama-server"]
async fn a_wrong_key_is_the_operators_to_put_right() {
    for (api, backend) in backends("sk-wrong") {
        let error = backend.complete(&request()).await.unwrap_err();
        assert!(matches!(error, InferenceError::Misconfigured(_)), "{api}: {error:?}");
        let error = backend.stream(&request()).await.err().unwrap();
        assert!(matches!(error, InferenceError::Misconfigured(_)), "{api}: {error:?}");
    }
}
