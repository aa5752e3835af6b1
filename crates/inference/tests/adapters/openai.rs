//! The OpenAI-compatible backend.

use crate::raw_server::{self, Then};
use crate::{ask, completed, read};
use serde_json::{Value, json};
use std::sync::Arc;
use tithe_chat::{Api, Chat, EmbeddingTask, Finish, Original};
use tithe_engine::inference::{ChatEvent, ChatRequest, EmbeddingRequest, Inference, InferenceError};
use tithe_inference::{OpenAiCompatible, OpenAiSettings, OutputLimitField, ZeroTemperature};
use tithe_pricing::Usage;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn settings(url: &str) -> OpenAiSettings {
    OpenAiSettings::new(format!("{url}/v1").parse().unwrap(), Some("sk-lab".parse().unwrap()))
}

fn backend(url: &str) -> OpenAiCompatible {
    OpenAiCompatible::new(settings(url)).unwrap()
}

fn answer() -> Value {
    json!({
        "choices": [{
            "finish_reason": "length", "index": 0, "message": {"role": "assistant", "content": "Hello there"},
        }],
        "usage": {
            "completion_tokens": 12, "prompt_tokens": 25, "total_tokens": 37,
            "prompt_tokens_details": {"cached_tokens": 24},
        },
    })
}

const USAGE: Usage = Usage { input_tokens: 25, cached_input_tokens: 24, output_tokens: 12, ..Usage::ZERO };

fn request_body(extra: &Value) -> Value {
    let mut body = json!({
        "model": "tiny", "temperature": 0,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}],
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_completion_is_asked_for_and_read_as_the_api_says() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer sk-lab"))
        .and(body_json(request_body(&json!({"max_tokens": 64, "stream": false}))))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer()))
        .expect(1)
        .mount(&server)
        .await;
    let completion = backend(&server.uri()).complete(&ask("hello")).await.unwrap();
    let expected = completed("Hello there", Finish::Length, Some(USAGE));
    assert_eq!(completion, expected);
}

#[tokio::test]
async fn what_servers_differ_in_can_be_set() {
    let server = MockServer::start().await;
    let mut body = request_body(&json!({"max_completion_tokens": 64, "stream": false}));
    body.as_object_mut().unwrap().remove("temperature");
    Mock::given(body_json(body))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer()))
        .expect(1)
        .mount(&server)
        .await;
    let settings = OpenAiSettings {
        api_key: None,
        output_limit_field: OutputLimitField::MaxCompletionTokens,
        zero_temperature: ZeroTemperature::Omit,
        ..settings(&server.uri())
    };
    OpenAiCompatible::new(settings).unwrap().complete(&ask("hello")).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    assert!(requests.iter().all(|request| !request.headers.contains_key("authorization")));
}

/// A stream as llama-server sends it, in two languages and with both kinds of line ends.
const STREAM: &str = concat!(
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n",
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"Héllo\"}}]}\n\n",
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\" 日本🦀\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"completion_tokens\":12,\"prompt_tokens\":25,",
    "\"prompt_tokens_details\":{\"cached_tokens\":24}}}\n\n",
    "data: [DONE]\n\n",
);

#[tokio::test]
async fn a_stream_is_asked_for_with_its_usage() {
    let server = MockServer::start().await;
    let extra = json!({"max_tokens": 64, "stream": true, "stream_options": {"include_usage": true}});
    Mock::given(body_json(request_body(&extra)))
        .respond_with(ResponseTemplate::new(200).set_body_raw(STREAM, "text/event-stream"))
        .expect(1)
        .mount(&server)
        .await;
    let (deltas, end) = read(backend(&server.uri()).stream(&ask("hello")).await.unwrap()).await;
    assert_eq!(deltas, ["Héllo", " 日本🦀"]);
    assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Stop, usage: Some(USAGE) });
}

#[tokio::test]
async fn it_does_not_matter_how_a_stream_is_cut_into_pieces() {
    for size in [1, 2, 3, 7, 1_000] {
        let pieces: Vec<&[u8]> = STREAM.as_bytes().chunks(size).collect();
        let server = raw_server::stream(&pieces, Then::End).await;
        let (deltas, end) = read(backend(&server.url).stream(&ask("hello")).await.unwrap()).await;
        assert_eq!(deltas, ["Héllo", " 日本🦀"], "{size}");
        assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Stop, usage: Some(USAGE) });
    }
}

#[tokio::test]
async fn once_the_reason_to_finish_is_known_what_is_missing_does_not_matter() {
    let (until_finish, _) = STREAM.split_once("data: {\"choices\":[],\"usage\"").unwrap();
    for then in [Then::End, Then::HangUp] {
        let server = raw_server::stream(&[until_finish.as_bytes()], then).await;
        let (_, end) = read(backend(&server.url).stream(&ask("hello")).await.unwrap()).await;
        let expected = ChatEvent::Finished { finish: Finish::Stop, usage: None };
        assert_eq!(end.unwrap(), expected, "{then:?}");
    }
}

#[tokio::test]
async fn zero_usage_in_a_stream_is_usage() {
    let stream = b"data: {\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{\"content\":\"x\"}}],\
        \"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\ndata: [DONE]\n\n";
    let server = raw_server::stream(&[stream], Then::Stall).await;
    let (deltas, end) = read(backend(&server.url).stream(&ask("hello")).await.unwrap()).await;
    assert_eq!(deltas, ["x"]);
    let expected = ChatEvent::Finished { finish: Finish::Stop, usage: Some(Usage::default()) };
    assert_eq!(end.unwrap(), expected);
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer()))
        .mount(&server)
        .await;
    let (deltas, end) = read(backend(&server.uri()).stream(&ask("hello")).await.unwrap()).await;
    assert_eq!(deltas, ["Hello there"]);
    assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Length, usage: Some(USAGE) });
}

#[tokio::test]
async fn a_parameter_that_the_backend_names_is_left_out_once_and_for_all() {
    let message = |text: &str| json!({"error": {"message": text, "type": "invalid_request_error"}});
    for (refusal, adapted) in [
        (
            message(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            ),
            json!({"max_completion_tokens": 64, "temperature": 0, "stream": false}),
        ),
        (
            message("'temperature' does not support 0 with this model."),
            json!({"max_tokens": 64, "stream": false}),
        ),
    ] {
        let server = MockServer::start().await;
        let refused = ResponseTemplate::new(400).set_body_json(refusal.clone());
        Mock::given(method("POST")).respond_with(refused).up_to_n_times(1).expect(1).mount(&server).await;
        let mut body = request_body(&adapted);
        if adapted.get("temperature").is_none() {
            body.as_object_mut().unwrap().remove("temperature");
        }
        Mock::given(method("POST"))
            .and(body_json(body))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer()))
            .expect(2)
            .mount(&server)
            .await;
        let backend = backend(&server.uri());
        for _ in 0..2 {
            assert_eq!(
                backend.complete(&ask("hello")).await.unwrap().reply.text(),
                "Hello there",
                "{refusal}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_that_names_no_parameter_is_not_repeated() {
    let server = MockServer::start().await;
    let refused = ResponseTemplate::new(400)
        .set_body_json(json!({"error": {"message": "no", "code": "content_filter"}}));
    Mock::given(method("POST")).respond_with(refused).expect(1).mount(&server).await;
    assert!(backend(&server.uri()).complete(&ask("hello")).await.unwrap_err().is_refusal());
}

#[tokio::test]
async fn what_a_backend_refuses_of_a_clients_own_request_is_the_clients_mistake() {
    let refusals = [
        (
            400,
            json!({"error": {"type": "invalid_request_error", "param": "temperature", "code": "unsupported_value"}}),
            true,
        ),
        (422, json!({"detail": "messages: a result without its call"}), true),
        (400, json!({"error": {"code": "model_not_found"}}), false),
        (400, json!({"error": {"message": "Your credit balance is too low"}}), false),
        (401, json!({"error": {"code": "invalid_api_key"}}), false),
    ];
    for (status, body, is_clients) in refusals {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(status).set_body_json(&body))
            .mount(&server)
            .await;
        let original =
            Original { api: Api::OpenAiChat, body: Vec::new(), headers: Vec::new(), own_tools: Vec::new() };
        let theirs = Chat { original: Some(original), ..Chat::of("hello") };
        let theirs = ChatRequest { chat: theirs.into(), ..ask("hello") };
        let backend = backend(&server.uri());
        let error = backend.stream(&theirs).await.err().unwrap();
        assert_eq!(matches!(error, InferenceError::Refused(_)), is_clients, "{status} {body}: {error:?}");
        // Tithe's own requests have nothing of a client's but text.
        let error = backend.stream(&ask("hello")).await.err().unwrap();
        assert!(matches!(error, InferenceError::Misconfigured(_)), "{status} {body}: {error:?}");
    }
}

fn to_embed(task: EmbeddingTask) -> EmbeddingRequest {
    EmbeddingRequest { model: "tiny".to_owned(), task: Arc::new(task) }
}

/// As a client has written it.
fn of_client(text: &str) -> EmbeddingRequest {
    let field = |name: &str, value: &Value| {
        (name.to_owned(), serde_json::value::RawValue::from_string(value.to_string()).unwrap())
    };
    let body = vec![
        field("model", &json!("theirs")),
        field("input", &json!([text])),
        field("input_type", &json!("query")),
        field("encoding_format", &json!("base64")),
    ];
    to_embed(EmbeddingTask { body, ..EmbeddingTask::of(vec![text.to_owned()]) })
}

#[tokio::test]
async fn embeddings_are_asked_for_in_the_clients_words_and_read_as_the_api_says() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/embeddings"))
        .and(header("authorization", "Bearer sk-lab"))
        .and(body_json(json!({ "model": "tiny", "input": ["hello"], "input_type": "query" })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}],
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        })))
        .expect(1)
        .mount(&server)
        .await;
    let embedded = backend(&server.uri()).embed(&of_client("hello")).await.unwrap();
    assert_eq!(embedded.vectors.as_slice(), [[0.5, -1.0]]);
    assert_eq!(embedded.usage, Some(Usage { input_tokens: 3, ..Usage::ZERO }));
}

#[tokio::test]
async fn embeddings_may_be_larger_than_the_text_of_an_answer() {
    let server = MockServer::start().await;
    let vector = vec![0.123_456_79_f32; 2_000];
    let data = json!({ "data": [{"index": 0, "embedding": vector}] });
    let template = ResponseTemplate::new(200).set_body_json(data);
    Mock::given(method("POST")).respond_with(template).mount(&server).await;
    let mut small = settings(&server.uri());
    small.limits.answer_bytes_max = 1_000;
    let embedded = OpenAiCompatible::new(small).unwrap().embed(&of_client("hello")).await.unwrap();
    assert_eq!((embedded.vectors.dimensions(), embedded.usage), (2_000, None));
}

#[tokio::test]
async fn embeddings_that_are_none_are_nonsense() {
    for data in [
        json!({}),
        json!({ "data": [] }),
        json!({ "data": [{"index": 0, "embedding": []}] }),
        json!({ "data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1]}] }),
        json!({ "data": [{"index": 0, "embedding": "AAAA"}] }),
        json!({ "data": [{"index": 0, "embedding": ["a"]}] }),
    ] {
        let server = MockServer::start().await;
        let template = ResponseTemplate::new(200).set_body_json(&data);
        Mock::given(method("POST")).respond_with(template).mount(&server).await;
        let error = backend(&server.uri()).embed(&of_client("hello")).await.unwrap_err();
        assert!(matches!(error, InferenceError::Nonsense(_)), "{data}: {error:?}");
    }
}

#[tokio::test]
async fn what_a_backend_refuses_of_embeddings_is_the_clients_mistake_if_a_client_has_written_them() {
    let server = MockServer::start().await;
    let error = json!({ "error": {"message": "This model does not support specifying dimensions."} });
    let template = ResponseTemplate::new(400).set_body_json(error);
    Mock::given(method("POST")).respond_with(template).mount(&server).await;
    let backend = backend(&server.uri());
    assert!(backend.embed(&of_client("hello")).await.unwrap_err().is_refusal());
    let error = backend.embed(&to_embed(EmbeddingTask::of(vec!["hello".to_owned()]))).await.unwrap_err();
    assert!(matches!(error, InferenceError::Misconfigured(_)), "{error:?}");
}
