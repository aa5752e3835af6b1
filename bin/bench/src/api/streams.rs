//! The load generator of streams: when the first byte comes, and how long each chunk was under way.

use crate::load::{Draw, tokens};
use crate::prompt::{Plan, now_nanos, number_after};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// The load to generate.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    path: String,
    #[arg(long)]
    connections: u32,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    sessions: u32,
    #[arg(long)]
    chunks: u64,
    #[arg(long)]
    micros: u64,
}

/// The results: medians and 99th percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Streamed {
    pub(super) streams: u64,
    pub(super) chunks: u64,
    /// Chunks per second.
    pub(super) rate: f64,
    pub(super) first_p50: f64,
    pub(super) first_p99: f64,
    pub(super) delay_p50: f64,
    pub(super) delay_p99: f64,
    /// How long a stream takes from its first byte to its last.
    pub(super) rest_p50: f64,
}

/// What one client has measured, in nanoseconds.
#[derive(Default)]
struct Timings {
    first: Vec<u64>,
    delays: Vec<u64>,
    rest: Vec<u64>,
}

impl Streamed {
    /// Generates load in a separate process.
    pub(super) fn generate(
        address: &str,
        path: &str,
        connections: u32,
        seconds: u64,
        sessions: u32,
        plan: Plan,
    ) -> Self {
        let numbers = [
            ("--connections", u64::from(connections)),
            ("--seconds", seconds),
            ("--sessions", u64::from(sessions)),
            ("--chunks", plan.chunks),
            ("--micros", plan.micros),
        ];
        let texts = [("--address".to_owned(), address.to_owned()), ("--path".to_owned(), path.to_owned())];
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
        let arguments = texts.into_iter().chain(numbers).flat_map(|(name, value)| [name, value]);
        crate::process::call("stream-load-internal", arguments)
    }
}

/// Generates load and prints the results.
pub(crate) fn run(options: &Options) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streamed = runtime.block_on(generate(options));
    println!("{}", serde_json::to_string(&streamed).unwrap());
}

async fn generate(options: &Options) -> Streamed {
    let plan = Plan { chunks: options.chunks, micros: options.micros };
    let tokens = tokens(crate::load::Target::Chat, options.sessions);
    let ready = Arc::new(Barrier::new(options.connections as usize + 1));
    let mut clients = JoinSet::new();
    for number in 0..options.connections {
        let mut stream = Stream::connect(options.address).await;
        let (tokens, ready, path) = (Arc::clone(&tokens), Arc::clone(&ready), options.path.clone());
        let time = Duration::from_secs(options.seconds);
        clients.spawn(async move {
            let (mut draw, mut timings) = (Draw::new(number), Timings::default());
            ready.wait().await;
            let began = Instant::now();
            while began.elapsed() < time {
                let token = &tokens[draw.below(tokens.len())];
                stream.ask(&path, token, plan).await;
                stream.read(plan, &mut timings).await;
            }
            timings
        });
    }
    ready.wait().await;
    let began = Instant::now();
    let mut all = Timings::default();
    for timings in clients.join_all().await {
        all.first.extend(timings.first);
        all.delays.extend(timings.delays);
        all.rest.extend(timings.rest);
    }
    let seconds = began.elapsed().as_secs_f64();
    for sorted in [&mut all.first, &mut all.delays, &mut all.rest] {
        sorted.sort_unstable();
    }
    let at = |of: &[u64], percent| of.get(of.len() * percent / 100).copied().unwrap_or_default() as f64 / 1e3;
    Streamed {
        streams: all.first.len() as u64,
        chunks: all.delays.len() as u64,
        rate: all.delays.len() as f64 / seconds,
        first_p50: at(&all.first, 50),
        first_p99: at(&all.first, 99),
        delay_p50: at(&all.delays, 50),
        delay_p99: at(&all.delays, 99),
        rest_p50: at(&all.rest, 50),
    }
}

/// A connection on which one stream after the other is read.
pub(super) struct Stream {
    connection: TcpStream,
    asked: Instant,
    buffer: Vec<u8>,
}

impl Stream {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let connection = TcpStream::connect(address).await.unwrap();
        connection.set_nodelay(true).unwrap();
        Self { connection, asked: Instant::now(), buffer: Vec::new() }
    }

    /// Asks for a stream.
    pub(super) async fn ask(&mut self, path: &str, token: &[u8], plan: Plan) {
        let body = plan.body(true);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nAuthorization: Bearer ",
            body.len()
        );
        let request = [head.as_bytes(), token, b"\r\n\r\n", body.as_bytes()].concat();
        self.asked = Instant::now();
        self.connection.write_all(&request).await.unwrap();
    }

    /// Reads until the first chunk with text has come.
    pub(super) async fn read_first(&mut self) {
        while !contains(&self.buffer, TEXT) {
            self.fill().await;
            assert!(self.buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Reads the rest of a stream, whatever is in it.
    pub(super) async fn read_rest(&mut self) {
        while !self.buffer.ends_with(LAST) {
            self.fill().await;
        }
        self.buffer.clear();
    }

    async fn fill(&mut self) {
        let read = self.connection.read_buf(&mut self.buffer).await.unwrap();
        assert_ne!(read, 0, "the server closed a connection: {}", String::from_utf8_lossy(&self.buffer));
    }

    /// Reads a stream to its end.
    async fn read(&mut self, plan: Plan, timings: &mut Timings) {
        self.buffer.clear();
        // Until where the chunks have been read.
        let (mut seen, mut first, mut chunks) = (0, None, 0);
        loop {
            self.fill().await;
            if first.is_none() && contains(&self.buffer, b"\r\n\r\n") {
                assert!(
                    self.buffer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&self.buffer)
                );
                first = Some(Instant::now());
            }
            let now = now_nanos();
            // A chunk whose number is complete: something follows it.
            while let Some((sent, rest)) = number_after(&self.buffer[seen..], TEXT)
                && !rest.is_empty()
            {
                seen = self.buffer.len() - rest.len();
                chunks += 1;
                timings.delays.push(now.saturating_sub(sent));
            }
            if self.buffer.ends_with(LAST) {
                break;
            }
            // What was read is not searched again.
            self.buffer.drain(..seen);
            seen = 0;
        }
        assert_eq!(chunks, plan.chunks, "{}", String::from_utf8_lossy(&self.buffer));
        let first = first.unwrap();
        timings.first.push((first - self.asked).as_nanos() as u64);
        timings.rest.push(first.elapsed().as_nanos() as u64);
    }
}

/// What is before the text of a chunk with text.
const TEXT: &[u8] = b"\"content\":\" ";

/// The end of a stream: the last event, and the last chunk of HTTP's.
const LAST: &[u8] = b"data: [DONE]\n\n\r\n0\r\n\r\n";

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|here| here == text)
}
