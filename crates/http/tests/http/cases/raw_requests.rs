//! Requests that no client library would send.

use crate::app::TestApp;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The statuses of the responses read from a connection.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test]
async fn malformed_http_is_rejected_and_does_not_affect_other_clients() {
    let app = TestApp::standing();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(300_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(500));
    let cases: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /api/jobs/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        let answer = app.raw(case).await;
        for status in statuses(&answer) {
            assert!(status.starts_with('4'), "{answer}");
        }
    }
    app.get("/healthz").await.ok(200);
    assert_eq!(app.jobs_count().await, 0);
}

#[tokio::test]
async fn request_smuggling_is_rejected() {
    let app = TestApp::standing();
    let hidden = "POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"request\":\"a\"}";
    for headers in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
    ] {
        let first = format!("POST /api/jobs HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = app.raw(first.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{headers}: {answer}");
        assert_eq!(app.jobs_count().await, 0, "{headers}");
    }
    app.get("/healthz").await.ok(200);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = TestApp::standing();
    let ask = |path: &str, last: bool| {
        let close = if last { "Connection: close\r\n" } else { "" };
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n")
    };
    let pipeline =
        [ask("/readyz", false), ask("/nowhere", false), ask("/api/jobs", false), ask("/healthz", true)]
            .concat();
    let answers = app.raw(pipeline.as_bytes()).await;
    assert_eq!(statuses(&answers), ["200", "404", "401", "200"]);
}

#[tokio::test]
async fn an_oversized_body_is_rejected_before_it_is_complete() {
    let app = TestApp::standing();
    let mut stream = app.connect().await;
    let head = "POST /api/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

/// With Nagle's algorithm, a small part of a stream waits until the client has acknowledged the part before it: for 40 ms and more.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_sent_to_clients_never_waits_for_an_acknowledgement() {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    use std::net::TcpStream;

    let app = TestApp::standing();
    let mut client = tokio::net::TcpStream::connect(app.address).await.unwrap();
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    // The server runs in this process: its end of the connection is one of the process's own files.
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    // All at once: each one that is opened here is a file of this process, too, and may be met again.
    let numbers: Vec<i32> = files.filter_map(|file| file.file_name().to_str()?.parse().ok()).collect();
    let ends = numbers.into_iter().filter_map(|number| {
        let end = TcpStream::from(pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty()).ok()?);
        (end.peer_addr().ok()? == client.local_addr().unwrap()).then_some(end)
    });
    let ends: Vec<TcpStream> = ends.collect();
    assert!(!ends.is_empty());
    assert!(ends.iter().all(|end| end.nodelay().unwrap()), "{ends:?}");
}
