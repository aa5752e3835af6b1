//! The backend with Anthropic's messages API.

use crate::raw_server::{self, Then};
use crate::{ask, chain, completed, read};
use serde_json::json;
use tithe_chat::{EmbeddingTask, Finish, Part, Reasoning};
use tithe_engine::inference::{ChatEvent, EmbeddingRequest, Inference, InferenceError};
use tithe_inference::{Anthropic, AnthropicSettings};
use tithe_pricing::Usage;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn backend(url: &str) -> Anthropic {
    Anthropic::new(AnthropicSettings::new(url.parse().unwrap(), Some("sk-lab".parse().unwrap()))).unwrap()
}

const USAGE: Usage = Usage { input_tokens: 25, cached_input_tokens: 24, output_tokens: 8, ..Usage::ZERO };

#[tokio::test]
async fn a_completion_is_asked_for_and_read_as_the_api_says() {
    let server = MockServer::start().await;
    let body = json!({
        "model": "tiny", "system": "Be kind.", "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 64, "temperature": 0, "stream": false,
    });
    let answer = json!({
        "type": "message", "role": "assistant", "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello there"}],
        "usage": {"cache_read_input_tokens": 24, "input_tokens": 1, "output_tokens": 8},
    });
    Mock::given(method("POST"))
        .and(path("/v1/messages"))
        .and(header("x-api-key", "sk-lab"))
        .and(header("anthropic-version", "2023-06-01"))
        .and(body_json(body))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .expect(2)
        .mount(&server)
        .await;
    for url in [server.uri(), format!("{}/v1/", server.uri())] {
        let completion = backend(&url).complete(&ask("hello")).await.unwrap();
        let mut expected = completed("Hello there", Finish::Stop, Some(USAGE));
        let reasoning = Reasoning { text: "hm".to_owned(), ..Reasoning::default() };
        expected.reply.parts.insert(0, Part::Reasoning(reasoning));
        assert_eq!(completion, expected);
    }
}

const STREAM: &str = concat!(
    "event: message_start\n",
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"stop_reason\":null,",
    "\"usage\":{\"cache_read_input_tokens\":24,\"input_tokens\":1,\"output_tokens\":3}}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_start\n",
    "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"s\"}}\n\n",
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\r\n",
    "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Héllo\"}}\r\n\r\n",
    "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\" 日本🦀\"}}\n\n",
    "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "data: {\"type\":\"something_new\",\"with\":{\"fields\":1}}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},",
    "\"usage\":{\"output_tokens\":8}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

#[tokio::test]
async fn a_stream_is_read_however_it_is_cut_into_pieces() {
    for size in [1, 2, 3, 7, 5_000] {
        let pieces: Vec<&[u8]> = STREAM.as_bytes().chunks(size).collect();
        let server = raw_server::stream(&pieces, Then::Stall).await;
        let (deltas, end) = read(backend(&server.url).stream(&ask("hello")).await.unwrap()).await;
        assert_eq!(deltas, ["Héllo", " 日本🦀"], "{size}");
        assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Length, usage: Some(USAGE) });
    }
}

#[tokio::test]
async fn what_the_start_says_of_the_output_is_no_usage() {
    let stream = STREAM
        .replace(",\"usage\":{\"output_tokens\":8}", "")
        .replace("\"usage\":{\"output_tokens\":8}", "\"usage\":null");
    let server = raw_server::stream(&[stream.as_bytes()], Then::End).await;
    let (_, end) = read(backend(&server.url).stream(&ask("hello")).await.unwrap()).await;
    assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Length, usage: None });
}

#[tokio::test]
async fn the_newest_counts_are_the_ones_that_count() {
    let stream = STREAM.replace("{\"output_tokens\":8}", "{\"input_tokens\":6,\"output_tokens\":8}");
    let server = raw_server::stream(&[stream.as_bytes()], Then::End).await;
    let (_, end) = read(backend(&server.url).stream(&ask("hello")).await.unwrap()).await;
    let usage = Some(Usage { input_tokens: 30, ..USAGE });
    assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Length, usage });
}

#[tokio::test]
async fn embeddings_are_the_operators_mistake() {
    let task = std::sync::Arc::new(EmbeddingTask::of(vec!["hello".to_owned()]));
    let asked = EmbeddingRequest { model: "tiny".to_owned(), task };
    let error = backend("http://127.0.0.1:1").embed(&asked).await.unwrap_err();
    assert!(matches!(error, InferenceError::Misconfigured(_)), "{error:?}");
    assert!(chain(&error).contains("has no embeddings"), "{}", chain(&error));
}
