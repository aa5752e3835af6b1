//! Calls over real connections.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Mutex;
use std::time::Duration;
use tithe_engine::mounts::{Called, Method, Upstream, UpstreamCall, UpstreamError};
use tithe_upstream_http::{HttpUpstream, UpstreamHeaders, UpstreamSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::{body_string, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn upstream(url: &str) -> HttpUpstream {
    let mut headers = UpstreamHeaders::default();
    headers.add("X-Key", "operators").unwrap();
    HttpUpstream::new(UpstreamSettings {
        url: url.parse().unwrap(),
        headers,
        timeout: Duration::from_millis(500),
        response_bytes_max: 100,
    })
    .unwrap()
}

fn call(method: Method, below: &str) -> UpstreamCall {
    UpstreamCall {
        method,
        below: below.to_owned(),
        query: Some("q=1%202".to_owned()),
        headers: vec![("x-key".to_owned(), b"customers".to_vec()), ("x-own".to_owned(), vec![0xe4])],
        body: b"body"[..].into(),
    }
}

/// Answers each connection with these bytes, once it has sent something, and closes it. Returns the URL.
async fn raw(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1000];
                if connection.read(&mut request).await.unwrap_or(0) > 0 {
                    let _sent = connection.write_all(answer).await;
                }
            });
        }
    });
    url
}

async fn called(url: &str) -> Result<Called, UpstreamError> {
    upstream(url).call(&call(Method::Post, ""), None).await
}

#[tokio::test]
async fn every_method_is_sent_with_its_path_its_query_its_body_and_the_operators_headers() {
    for sent in Method::ALL {
        let server = MockServer::start().await;
        Mock::given(method(sent.as_str()))
            .and(path("/api/a/b"))
            .and(query_param("q", "1 2"))
            .and(header("x-key", "operators"))
            .and(body_string("body"))
            .respond_with(ResponseTemplate::new(200).set_body_raw("yes", "text/x-own"))
            .expect(1)
            .mount(&server)
            .await;
        let answer =
            upstream(&format!("{}/api", server.uri())).call(&call(sent, "/a/b"), None).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"yes"[..]), "{sent}");
        assert_eq!(answer.headers, [("content-type".to_owned(), "text/x-own".to_owned())]);
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let server = MockServer::start().await;
    let elsewhere = ResponseTemplate::new(307).insert_header("Location", "/elsewhere");
    Mock::given(path("/")).respond_with(elsewhere).expect(1).mount(&server).await;
    let answer = called(&server.uri()).await.unwrap();
    assert_eq!((answer.status, &answer.headers[0].1[..]), (307, "/elsewhere"));
}

#[tokio::test]
async fn failures_are_told_apart_by_what_may_have_been_done() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    assert!(matches!(called(&nobody).await, Err(UpstreamError::Unreachable(_))));
    assert!(matches!(called("http://name.invalid").await, Err(UpstreamError::Unreachable(_))));
    let failed = raw(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n").await;
    assert!(matches!(called(&failed).await, Err(UpstreamError::Failed { status: 500 })));
    for cut in [
        &b""[..],
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123\r\n",
        b"SSH-2.0\r\n",
    ] {
        let failure = called(&raw(cut).await).await.unwrap_err();
        assert!(matches!(failure, UpstreamError::BrokenOff(_)), "{cut:?}: {failure:?}");
    }
    for large in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\n\r\n12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901",
    ] {
        assert!(matches!(called(&raw(large).await).await, Err(UpstreamError::TooLarge { limit: 100 })));
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    assert!(matches!(called(&url).await, Err(UpstreamError::TimedOut)));
    let slow = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n123").await;
    assert_eq!(called(&slow).await.unwrap().body, b"123");
}

#[tokio::test]
async fn a_failure_shows_neither_the_address_nor_the_key() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let failure = called(&format!("http://{address}/path-of-the-operator")).await.unwrap_err();
    let told = format!("{failure:?} {failure}");
    assert!(!told.contains("path-of-the-operator") && !told.contains("operators"), "{told}");
}

#[tokio::test]
async fn only_streams_of_events_are_passed_on_while_they_arrive() {
    let event_stream = raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: {\"usage\":{\"total_tokens\":3}}\n\n").await;
    let text = raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\ndata: x\n\n").await;
    let refused = raw(b"HTTP/1.1 400 No\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n").await;
    for (url, passed_on, tokens) in [
        (event_stream, "data: {\"usage\":{\"total_tokens\":3}}\n\n", Some(3)),
        (text, "", None),
        (refused, "", None),
    ] {
        let pieces = Mutex::new(String::new());
        let listen = |piece: &str| pieces.lock().unwrap().push_str(piece);
        let answer = upstream(&url).call(&call(Method::Post, ""), Some(&listen)).await.unwrap();
        assert_eq!((pieces.into_inner().unwrap().as_str(), answer.tokens), (passed_on, tokens));
        assert!(answer.body.starts_with(b"data: "));
    }
}

#[tokio::test]
async fn each_call_has_a_connection_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream(&format!("http://{}", listener.local_addr().unwrap()));
    for _call in 0..3 {
        let serving = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 1000];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            connection
        };
        let request = call(Method::Post, "");
        let (answer, connection) = tokio::join!(upstream.call(&request, None), serving);
        assert_eq!(answer.unwrap().status, 200);
        drop(connection);
    }
}

#[tokio::test]
async fn whether_it_can_be_reached_is_looked_at_once_in_a_while_and_by_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream(&format!("http://{}", listener.local_addr().unwrap()));
    let looked = futures_util::future::join_all((0..20).map(|_| upstream.is_reachable())).await;
    assert!(looked.into_iter().all(|is_reachable| is_reachable));
    let _first = listener.accept().await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(second.is_err(), "one connection was enough");
    drop(listener);
    // A call finds out.
    assert!(matches!(upstream.call(&call(Method::Post, ""), None).await, Err(UpstreamError::Unreachable(_))));
    assert!(!upstream.is_reachable().await);
}

#[tokio::test]
async fn a_stream_over_the_limit_is_cut_and_what_was_passed_on_is_an_answer() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = "data: {\"usage\":{\"total_tokens\":3}}\n\n";
    let (first_length, rest) = (first.len(), "x".repeat(101));
    let begun = format!("{head}{first_length:x}\r\n{first}\r\n");
    let large: &'static [u8] = format!("{begun}65\r\n{rest}\r\n0\r\n\r\n").into_bytes().leak();
    let pieces = Mutex::new(String::new());
    let listen = |piece: &str| pieces.lock().unwrap().push_str(piece);
    let upstream = upstream(&raw(large).await);
    let answer = upstream.call(&call(Method::Post, ""), Some(&listen)).await.unwrap();
    let passed_on = pieces.into_inner().unwrap();
    assert!(passed_on.starts_with(first) && passed_on.contains("\n\nevent: error\n"), "{passed_on}");
    assert_eq!((answer.body.as_slice(), answer.tokens), (passed_on.as_bytes(), Some(3)));
    // Of an answer that nobody has seen anything of, nothing is left.
    let unseen = upstream.call(&call(Method::Post, ""), None).await;
    assert!(matches!(unseen, Err(UpstreamError::TooLarge { limit: 100 })));
}
