//! The load generator: many connections in one thread, each with one request in flight.
//!
//! It is lean because it shares the cores with the server that it measures.

use crate::figures::Figures;
use crate::{fixture, prompt, server};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tithe_clock::{Clock, SystemClock};
use tithe_trust::IdentityTokens;
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
    connections: u32,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    sessions: u32,
    #[arg(long, value_enum, default_value_t = Target::Charge)]
    target: Target,
}

/// The kind of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Charges, each of a random session.
    Charge,
    /// The same, without a task on the server's main runtime.
    ChargeHere,
    /// Grants, each to a random identity, for work that the pool pays for alone.
    Free,
    /// The same for work that a session pays the other half of.
    Halves,
    /// Whole metered requests, each of a random session.
    Session,
    /// A trivial response.
    Trivial,
    /// Charges with a token of another session: 401.
    Refused,
    /// Chat completions, each paid for by a random session.
    Chat,
    /// Chat completions, from the mock upstream itself.
    ChatAlone,
}

/// The results.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) figures: Figures,
    /// The number of expected responses.
    pub(crate) answers: u64,
    /// The number of other responses.
    pub(crate) others: u64,
}

const DIGITS: usize = 8;

/// A metered request.
const WORK: &str = r#"{"request":"Why is the sky blue?","model":"sim-small","maxOutputTokens":32}"#;

/// Where the session's id is in the request.
const PATH_AT: usize = "POST /api/sessions/".len();

impl Load {
    /// Generates load in a separate process. Panics on any response but the expected ones.
    pub(crate) fn generate(
        address: &str,
        target: Target,
        connections: u32,
        seconds: u64,
        sessions: u32,
    ) -> Self {
        let target = target.to_possible_value().unwrap();
        let (connections, seconds) = (connections.to_string(), seconds.to_string());
        let load: Self = crate::process::call(
            "load-internal",
            [
                "--address",
                address,
                "--connections",
                &connections,
                "--seconds",
                &seconds,
                "--sessions",
                &sessions.to_string(),
            ]
            .into_iter()
            .chain(["--target", target.get_name()]),
        );
        assert_eq!(load.others, 0, "unexpected responses: {load:?}");
        load
    }
}

/// Generates load and prints the results.
pub(crate) fn run(options: &Options) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let load = runtime.block_on(generate(options));
    println!("{}", serde_json::to_string(&load).unwrap());
}

/// The tokens of the sessions.
pub(crate) fn tokens(target: Target, sessions: u32) -> Arc<[Vec<u8>]> {
    let claims = server::tokens();
    let identities = IdentityTokens::new(
        &server::secrets(),
        tithe_trust::Audience::literal("tithe"),
        Duration::from_hours(24),
    );
    let now = SystemClock.now();
    let shift = u32::from(target == Target::Refused);
    let token = |number| match target {
        Target::Free | Target::Halves => identities.issue(fixture::identity(number), now).text,
        Target::Session | Target::Chat | Target::ChatAlone => {
            fixture::macaroon(server::SECRET.as_bytes(), number)
        }
        _ => claims.token(fixture::session_id(number + shift)),
    };
    (0..sessions).map(|number| token(number).into_bytes()).collect()
}

async fn generate(options: &Options) -> Load {
    let tokens = tokens(options.target, options.sessions);
    let ready = Arc::new(Barrier::new(options.connections as usize + 1));
    let mut clients = JoinSet::new();
    for number in 0..options.connections {
        let stream = TcpStream::connect(options.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let client =
            Client { stream, draw: Draw::new(number), tokens: Arc::clone(&tokens), target: options.target };
        clients.spawn(client.run(Arc::clone(&ready), Duration::from_secs(options.seconds)));
    }
    ready.wait().await;
    let began = Instant::now();
    let (mut micros, mut others) = (Vec::new(), 0);
    for (latencies, unexpected) in clients.join_all().await {
        micros.extend(latencies);
        others += unexpected;
    }
    let seconds = began.elapsed().as_secs_f64();
    Load { answers: micros.len() as u64, others, figures: Figures::of(micros.len(), seconds, micros) }
}

struct Client {
    stream: TcpStream,
    draw: Draw,
    tokens: Arc<[Vec<u8>]>,
    target: Target,
}

/// Random numbers, by xorshift64*.
pub(crate) struct Draw(u64);

impl Draw {
    /// Other numbers for each client of each process.
    pub(crate) fn new(client: u32) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (u64::from(std::process::id()) << 32) ^ u64::from(client + 1))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        high as usize % end
    }
}

impl Client {
    /// Sends requests until the time is over. Returns the latencies of the expected responses, and the number of others.
    async fn run(mut self, ready: Arc<Barrier>, time: Duration) -> (Vec<u32>, u64) {
        let (path, expected) = match self.target {
            Target::Charge => ("/bench/charge", b"200"),
            Target::ChargeHere => ("/bench/charge-here", b"200"),
            Target::Free => ("/bench/free", b"200"),
            Target::Halves => ("/bench/halves", b"200"),
            Target::Session => ("/api/sessions/00000000-0000-0000-0000-000000000000/request", b"200"),
            Target::Trivial => ("/bench/trivial", b"200"),
            Target::Refused => ("/bench/charge", b"401"),
            Target::Chat => ("/v1/chat/completions", b"200"),
            Target::ChatAlone => (prompt::ALONE, b"200"),
        };
        let token = &self.tokens[0];
        let body = match self.target {
            Target::Session => WORK.to_owned(),
            Target::Chat | Target::ChatAlone => prompt::WHOLE.body(false),
            _ => format!("{{\"session\":{:DIGITS$},\"amount\":1}}", 0),
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer "
        );
        let token_at = head.len()..head.len() + token.len();
        let rest = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
        let session_at = token_at.end + rest.len() + "{\"session\":".len();
        let session_at = session_at..session_at + DIGITS;
        let mut request = [head.as_bytes(), token, rest.as_bytes(), body.as_bytes()].concat();
        let mut answer = vec![0; 16 * 1024];
        let (mut micros, mut others) = (Vec::new(), 0);
        ready.wait().await;
        let began = Instant::now();
        loop {
            let session = self.draw.below(self.tokens.len());
            request[token_at.clone()].copy_from_slice(&self.tokens[session]);
            match self.target {
                Target::Session => {
                    let id = fixture::session_id(session as u32).hyphenated().to_string();
                    request[PATH_AT..PATH_AT + id.len()].copy_from_slice(id.as_bytes());
                }
                Target::Chat | Target::ChatAlone => {}
                _ => write_number(&mut request[session_at.clone()], session),
            }
            let asked = Instant::now();
            if asked - began >= time {
                return (micros, others);
            }
            self.stream.write_all(&request).await.unwrap();
            let mut filled = 0;
            loop {
                let read = self.stream.read(&mut answer[filled..]).await.unwrap();
                assert_ne!(read, 0, "the server closed a connection");
                filled += read;
                if is_whole(&answer[..filled]) {
                    break;
                }
            }
            if &answer[9..12] == expected {
                micros.push(asked.elapsed().as_micros() as u32);
            } else {
                others += 1;
            }
        }
    }
}

/// Writes a number, padded with blanks on the left.
fn write_number(field: &mut [u8], mut number: usize) {
    field.fill(b' ');
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return;
        }
    }
}

/// Whether a response has arrived completely.
pub(crate) fn is_whole(answer: &[u8]) -> bool {
    const LENGTH: &[u8] = b"content-length:";
    let mut length = None;
    let mut line_at = 0;
    while let Some(end) = answer[line_at..].iter().position(|byte| *byte == b'\n') {
        let line = &answer[line_at..line_at + end];
        line_at += end + 1;
        if line == b"\r" {
            let length: usize = length.expect("the response has a Content-Length");
            return answer.len() >= line_at + length;
        }
        if line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH) {
            length = std::str::from_utf8(&line[LENGTH.len()..]).unwrap().trim().parse().ok();
        }
    }
    false
}
