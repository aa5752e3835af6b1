//! Traces, to a collector that only counts what arrives.

use crate::ask;
use crate::operating::procedure;
use crate::test_env::TestEnv;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// What the spans of a sale are named.
const SPANS: [&str; 4] = ["request", "commit", "wallet", "model_run"];

/// Takes exports until nobody wants them any more.
fn collect(listener: &TcpListener, exports: &mpsc::Sender<(String, Vec<u8>)>) {
    for stream in listener.incoming() {
        let exports = exports.clone();
        std::thread::spawn(move || while take(stream.as_ref().unwrap(), &exports).is_some() {});
    }
}

/// Takes one export; `None` at the end of the connection.
fn take(stream: &TcpStream, exports: &mpsc::Sender<(String, Vec<u8>)>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    exports.send((first, body)).ok()?;
    let mut stream = stream;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        .ok()
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_sale_is_traced() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = format!("http://{}", listener.local_addr().unwrap());
    let (sender, exports) = mpsc::channel();
    std::thread::spawn(move || collect(&listener, &sender));
    let env = TestEnv::sqlite();
    // As it is written, but for the address.
    let lines = procedure("traces-on");
    let settings = lines.lines().filter_map(|line| line.split_once('='));
    let settings: Vec<(&str, String)> =
        settings.map(|(name, value)| (name, value.replace("http://127.0.0.1:4318", &collector))).collect();
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.push(("OTEL_BSP_SCHEDULE_DELAY", "100"));
    let mut server = env.start_with(&all);
    assert!(ask(&server, &["hello"]).status.success());
    assert!(server.stop());
    let mut missing: Vec<&str> = SPANS.to_vec();
    while !missing.is_empty() {
        let export = exports.recv_timeout(Duration::from_secs(30));
        let (first, body) = export.unwrap_or_else(|_| panic!("nothing was exported of {missing:?}"));
        assert!(first.starts_with("POST /v1/traces "), "{first}");
        assert!(contains(&body, "service.name") && contains(&body, "tithe"), "{first}");
        assert!(!contains(&body, "hello"), "a customer's text is in a trace");
        missing.retain(|span| !contains(&body, span));
    }
}
