//! What both HTTP backends have in common.

use crate::raw_server::{self, Then};
use crate::{ask, chain, read};
use futures_util::StreamExt as _;
use serde_json::json;
use std::time::Duration;
use tithe_chat::{Delta, Finish};
use tithe_engine::inference::{ChatEvent, Inference, InferenceError};
use tithe_inference::{Anthropic, AnthropicSettings, ApiKey, Limits, OpenAiCompatible, OpenAiSettings};
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

const KEY: &str = "sk-very-secret-key";

fn backends_within(url: &str, limits: Limits) -> [Box<dyn Inference>; 2] {
    let key: ApiKey = KEY.parse().unwrap();
    let openai = OpenAiSettings { limits, ..OpenAiSettings::new(url.parse().unwrap(), Some(key.clone())) };
    let anthropic = AnthropicSettings { limits, ..AnthropicSettings::new(url.parse().unwrap(), Some(key)) };
    [Box::new(OpenAiCompatible::new(openai).unwrap()), Box::new(Anthropic::new(anthropic).unwrap())]
}

fn backends(url: &str) -> [Box<dyn Inference>; 2] {
    backends_within(url, Limits::default())
}

async fn server(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

/// The error of a backend that answers with `response`; it must not matter how the answer was wanted.
async fn errors(response: ResponseTemplate) -> Vec<InferenceError> {
    let server = server(response).await;
    let mut errors = Vec::new();
    for backend in backends(&server.uri()) {
        errors.push(backend.complete(&ask("hello")).await.unwrap_err());
        errors.push(backend.stream(&ask("hello")).await.err().unwrap());
    }
    errors
}

fn kind(error: &InferenceError) -> &'static str {
    match error {
        InferenceError::Unavailable { .. } => "unavailable",
        InferenceError::TimedOut => "timed out",
        InferenceError::Failed(_) => "failed",
        InferenceError::Refused(_) => "refused",
        InferenceError::Misconfigured(_) => "misconfigured",
        InferenceError::Interrupted(_) => "interrupted",
        InferenceError::Nonsense(_) => "nonsense",
        _ => "new",
    }
}

#[tokio::test]
async fn every_status_tells_who_must_act() {
    for (status, expected) in [
        (301, "misconfigured"),
        (400, "misconfigured"),
        (401, "misconfigured"),
        (402, "misconfigured"),
        (403, "misconfigured"),
        (404, "misconfigured"),
        (408, "unavailable"),
        (409, "unavailable"),
        (413, "refused"),
        (422, "misconfigured"),
        (429, "unavailable"),
        (500, "failed"),
        (502, "failed"),
        (503, "unavailable"),
        (504, "failed"),
        (529, "unavailable"),
    ] {
        for error in errors(ResponseTemplate::new(status)).await {
            assert_eq!(kind(&error), expected, "{status}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_unpaid_bill_is_the_operators_whatever_the_status() {
    let body =
        serde_json::json!({"error": {"code": "insufficient_quota", "message": "You exceeded your quota."}});
    for error in errors(ResponseTemplate::new(429).set_body_json(body)).await {
        assert_eq!(kind(&error), "misconfigured", "{error:?}");
    }
}

#[tokio::test]
async fn only_content_and_length_are_the_customers_fault() {
    for (status, error, expected) in [
        (400, json!({"code": "context_length_exceeded", "message": "too many tokens"}), "refused"),
        (400, json!({"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}), "refused"),
        (400, json!({"code": "content_filter", "message": "filtered"}), "refused"),
        (403, json!({"code": 403, "message": "Your input was flagged by moderation."}), "refused"),
        (400, json!({"message": "Unsupported parameter: 'max_tokens'."}), "misconfigured"),
        (404, json!({"code": "model_not_found", "message": "no such model"}), "misconfigured"),
        (422, json!({"message": "stream_options: extra fields not permitted"}), "misconfigured"),
        (400, json!({"type": "overloaded_error", "message": "later"}), "unavailable"),
        (500, json!({"type": "server_error", "message": "context length"}), "failed"),
    ] {
        let response = ResponseTemplate::new(status).set_body_json(json!({"error": error}));
        for failure in errors(response).await {
            assert_eq!(kind(&failure), expected, "{status} {error}");
        }
    }
}

#[tokio::test]
async fn what_the_backend_says_is_for_nobody_and_the_log_tells_its_length() {
    let said = format!("no such key: {KEY}, says the provider");
    for error in errors(ResponseTemplate::new(401).set_body_string(said)).await {
        assert_eq!(error.to_string(), "the AI backend is misconfigured");
        assert!(chain(&error).contains("401 Unauthorized (50 bytes)"), "{}", chain(&error));
        for shown in [chain(&error), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!shown.contains("secret") && !shown.contains("says the provider"), "{shown}");
        }
    }
}

#[test]
fn keys_are_not_shown_by_what_holds_them() {
    let openai = OpenAiSettings::new("http://h".parse().unwrap(), Some(KEY.parse().unwrap()));
    let anthropic = AnthropicSettings::new("http://h".parse().unwrap(), Some(KEY.parse().unwrap()));
    for shown in [
        format!("{openai:?}"),
        format!("{anthropic:?}"),
        format!("{:?}", OpenAiCompatible::new(openai).unwrap()),
        format!("{:?}", Anthropic::new(anthropic).unwrap()),
    ] {
        assert!(!shown.contains("secret") && !shown.contains("says the provider"), "{shown}");
    }
}

#[tokio::test]
async fn an_error_whose_body_never_ends_is_told_by_its_status() {
    for which in [0, 1] {
        let head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{".to_vec();
        let server = raw_server::serve(vec![head], Then::Stall).await;
        let limits = Limits { idle: SOON, ..PATIENT };
        let error = backends_within(&server.url, limits)[which].complete(&ask("hello")).await.unwrap_err();
        assert_eq!(kind(&error), "misconfigured", "{error:?}");
    }
}

#[tokio::test]
async fn long_error_bodies_are_cut_for_the_log() {
    for error in errors(ResponseTemplate::new(500).set_body_string("x".repeat(1_000_000))).await {
        assert!(chain(&error).len() < 3_000, "{}", chain(&error).len());
    }
}

#[tokio::test]
async fn the_time_to_ask_again_is_passed_on() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (retry_after, expected) in
        [("7", Some(7)), ("Sun, 06 Nov 1994 08:49:49 GMT", Some(12)), ("soon", None)]
    {
        let response =
            ResponseTemplate::new(503).insert_header("retry-after", retry_after).insert_header("date", date);
        for error in errors(response).await {
            let InferenceError::Unavailable { retry_after, .. } = error else { panic!("{error:?}") };
            assert_eq!(retry_after, expected.map(Duration::from_secs));
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = server(ResponseTemplate::new(200)).await;
    let response = ResponseTemplate::new(307).insert_header("location", target.uri().as_str());
    for error in errors(response).await {
        assert_eq!(kind(&error), "misconfigured", "{error:?}");
    }
    assert!(target.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_the_apis_is_nonsense() {
    for body in ["", "{", "<html>Welcome to the hotel</html>", "[]", "{}", r#"{"choices":[],"content":null}"#]
    {
        for error in errors(ResponseTemplate::new(200).set_body_raw(body, "application/json")).await {
            assert_eq!(kind(&error), "nonsense", "{body}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_error_in_a_successful_answer_is_an_error() {
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for error in
        errors(ResponseTemplate::new(200).set_body_raw(body, "application/json; charset=utf-8")).await
    {
        assert_eq!(kind(&error), "unavailable", "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read_on() {
    let server = server(ResponseTemplate::new(200).set_body_string("x".repeat(5_000))).await;
    let limits = Limits { answer_bytes_max: 4_000, ..Limits::default() };
    for backend in backends_within(&server.uri(), limits) {
        let error = backend.complete(&ask("hello")).await.unwrap_err();
        assert!(chain(&error).contains("longer than the limit"), "{error:?}");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_listen_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for backend in backends(&url) {
        let error = backend.complete(&ask("hello")).await.unwrap_err();
        assert_eq!(kind(&error), "unavailable", "{error:?}");
    }
}

#[tokio::test]
async fn a_backend_that_has_no_address_is_unavailable() {
    // Names have parts of at most 63 characters, so that nobody is asked for this one.
    let url = format!("http://{}.invalid", "a".repeat(64));
    for backend in backends(&url) {
        let error = backend.complete(&ask("hello")).await.unwrap_err();
        assert_eq!(kind(&error), "unavailable", "{error:?}");
    }
}

#[tokio::test]
async fn a_backend_that_cannot_be_connected_to_in_time_is_unavailable() {
    for which in [0, 1] {
        // It says nothing, so that the TLS connection is never established.
        let server = raw_server::silence().await;
        let url = server.url.replace("http://", "https://");
        let limits = Limits { connect: SOON, ..PATIENT };
        let error = backends_within(&url, limits)[which].complete(&ask("hello")).await.unwrap_err();
        assert_eq!(kind(&error), "unavailable", "{error:?}");
        server.client_left.await.unwrap();
    }
}

#[tokio::test]
async fn a_backend_that_hangs_up_on_a_request_may_have_done_the_work() {
    for which in [0, 1] {
        let server = raw_server::serve(Vec::new(), Then::HangUp).await;
        let error = backends(&server.url)[which].complete(&ask("hello")).await.unwrap_err();
        assert_eq!(kind(&error), "interrupted", "{error:?}");
    }
}

/// Nothing else ends these waits, so that a test fails by hanging and never by a slow machine.
const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(30);
const PATIENT: Limits =
    Limits { connect: NEVER, first_byte: NEVER, idle: NEVER, overall: NEVER, answer_bytes_max: 1_000_000 };

#[tokio::test]
async fn a_stream_that_never_begins_times_out() {
    for which in [0, 1] {
        let server = raw_server::silence().await;
        let limits = Limits { first_byte: SOON, ..PATIENT };
        let error = backends_within(&server.url, limits)[which].stream(&ask("hello")).await.err().unwrap();
        assert_eq!(kind(&error), "timed out");
        server.client_left.await.unwrap();
    }
}

#[tokio::test]
async fn a_whole_completion_times_out_in_the_end() {
    for which in [0, 1] {
        let server = raw_server::silence().await;
        let limits = Limits { first_byte: Duration::ZERO, overall: SOON, ..PATIENT };
        let error = backends_within(&server.url, limits)[which].complete(&ask("hello")).await.unwrap_err();
        assert_eq!(kind(&error), "timed out");
        server.client_left.await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_stalls_times_out() {
    for limits in [Limits { idle: SOON, ..PATIENT }, Limits { overall: SOON, ..PATIENT }] {
        for which in [0, 1] {
            let server = raw_server::stream(&[b": nothing yet\n\n"], Then::Stall).await;
            let error = match backends_within(&server.url, limits)[which].stream(&ask("hello")).await {
                Ok(stream) => read(stream).await.1.unwrap_err(),
                // A slow machine may need all the time for the headers.
                Err(error) => error,
            };
            assert_eq!(kind(&error), "timed out");
            server.client_left.await.unwrap();
        }
    }
}

/// The beginning of a stream of each backend.
const FIRST_WORDS: [&[u8]; 2] = [
    b"data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n",
    b"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
];

#[tokio::test]
async fn an_answer_that_a_limit_of_ours_cuts_has_ended_at_a_length() {
    let short = Limits { answer_bytes_max: 7, ..PATIENT };
    let quick = Limits { overall: Duration::from_secs(2), ..PATIENT };
    for (limits, expected) in [(short, 1), (quick, 2)] {
        for (which, words) in FIRST_WORDS.into_iter().enumerate() {
            let server = raw_server::stream(&[words, words], Then::Stall).await;
            let backend = &backends_within(&server.url, limits)[which];
            let (deltas, end) = read(backend.stream(&ask("hello")).await.unwrap()).await;
            assert_eq!(deltas, vec!["Hello"; expected], "text is limited, not the events around it");
            assert_eq!(end.unwrap(), ChatEvent::Finished { finish: Finish::Length, usage: None });
        }
    }
}

#[tokio::test]
async fn the_last_event_needs_no_blank_line() {
    let ends: [&[u8]; 2] = [
        b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
        b"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}",
    ];
    for (which, (words, end)) in FIRST_WORDS.into_iter().zip(ends).enumerate() {
        let server = raw_server::stream(&[words, end], Then::End).await;
        let stream = backends(&server.url)[which].stream(&ask("hello")).await.unwrap();
        let (deltas, end) = read(stream).await;
        assert_eq!(deltas, ["Hello"]);
        assert!(matches!(end.unwrap(), ChatEvent::Finished { finish: Finish::Stop, .. }));
    }
}

#[tokio::test]
async fn dropping_a_stream_closes_the_connection() {
    for (which, words) in FIRST_WORDS.into_iter().enumerate() {
        let server = raw_server::stream(&[words], Then::Stall).await;
        let backend = &backends_within(&server.url, PATIENT)[which];
        let mut stream = backend.stream(&ask("hello")).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), ChatEvent::Delta(Delta::Text("Hello".to_owned())));
        drop(stream);
        server.client_left.await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_interrupted() {
    for then in [Then::End, Then::HangUp] {
        for (which, words) in FIRST_WORDS.into_iter().enumerate() {
            let server = raw_server::stream(&[words], then).await;
            let stream = backends(&server.url)[which].stream(&ask("hello")).await.unwrap();
            let (deltas, end) = read(stream).await;
            assert_eq!(deltas, ["Hello"]);
            assert_eq!(kind(&end.unwrap_err()), "interrupted", "{then:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_nonsense_is_nonsense() {
    for which in [0, 1] {
        let server = raw_server::stream(&[b"data: {\"type\":\n\n"], Then::End).await;
        let stream = backends(&server.url)[which].stream(&ask("hello")).await.unwrap();
        assert_eq!(kind(&read(stream).await.1.unwrap_err()), "nonsense");
    }
}

#[tokio::test]
async fn an_error_in_a_stream_is_told_by_its_type_until_words_are_out() {
    let error = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    for (which, words) in FIRST_WORDS.into_iter().enumerate() {
        let server = raw_server::stream(&[error], Then::End).await;
        let stream = backends(&server.url)[which].stream(&ask("hello")).await.unwrap();
        assert_eq!(kind(&read(stream).await.1.unwrap_err()), "unavailable");

        let server = raw_server::stream(&[words, error], Then::End).await;
        let stream = backends(&server.url)[which].stream(&ask("hello")).await.unwrap();
        let (deltas, end) = read(stream).await;
        assert_eq!(deltas, ["Hello"]);
        assert_eq!(kind(&end.unwrap_err()), "failed");
    }
}

/// With Nagle's algorithm, the rest of a request waits until the backend has acknowledged its beginning: for 40 ms and more.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_sent_to_a_backend_never_waits_for_an_acknowledgement() {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    use std::net::TcpStream;

    let chunk: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let block: &[u8] = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
        \"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
    for (nth, piece) in [chunk, block].into_iter().enumerate() {
        let server = raw_server::stream(&[piece], Then::Stall).await;
        let backend = backends(&server.url).into_iter().nth(nth).unwrap();
        let mut stream = backend.stream(&ask("hello")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        // The connection is one of this process's own files.
        let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        // All at once: each one that is opened here is a file of this process, too, and may be met again.
        let numbers: Vec<i32> = files.filter_map(|file| file.file_name().to_str()?.parse().ok()).collect();
        let ends = numbers.into_iter().filter_map(|number| {
            let end = TcpStream::from(pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty()).ok()?);
            (format!("http://{}", end.peer_addr().ok()?) == server.url).then_some(end)
        });
        let ends: Vec<TcpStream> = ends.collect();
        assert!(!ends.is_empty());
        assert!(ends.iter().all(|end| end.nodelay().unwrap()), "{ends:?}");
    }
}
