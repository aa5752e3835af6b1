//! Customers who pay for each request by itself, and then for the same requests from a session of the scheme `Payment`. They ask, pay and prove
//! in turn, all at once.

use crate::figures::Figures;
use crate::load::is_whole;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Instant;
use tithe_paywall::payment::{Challenge, SessionAction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The load to generate.
#[derive(Args)]
pub(crate) struct CustomersOptions {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    connections: u32,
    #[arg(long)]
    requests: u32,
}

/// What was measured in a round.
#[derive(Serialize, Deserialize)]
pub(crate) struct Round {
    /// Requests that nobody pays for: 402, with an invoice for the request, and one for the deposit of a session.
    pub(crate) offers: Figures,
    /// The same requests with their proofs.
    pub(crate) redemptions: Figures,
    /// The same again.
    pub(crate) repeated: Figures,
    /// The same requests, paid from an open session.
    pub(crate) bearers: Figures,
    /// The offers whose challenge of a session came without a deposit, because the wallet took too long: they cost one invoice.
    pub(crate) without_deposit: usize,
}

/// How often a customer asks for a deposit. The wallet may take too long for one.
const DEPOSIT_TRIES: u32 = 5;

/// Generates load and prints the results.
pub(crate) fn run(options: &CustomersOptions) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let round = runtime.block_on(generate(options));
    println!("{}", serde_json::to_string(&round).unwrap());
}

async fn generate(options: &CustomersOptions) -> Round {
    let mut customers = Vec::new();
    for number in 0..options.connections {
        customers.push(Customer::new(options, number).await);
    }
    let (offers, customers) = all(customers, Step::Ask).await;
    let asked = customers.iter().flat_map(|customer| &customer.requests);
    let without_deposit = asked.filter(|asked| !asked.has_deposit()).count();
    let (_payments, customers) = all(customers, Step::Pay).await;
    let (redemptions, customers) = all(customers, Step::Prove).await;
    let (repeated, customers) = all(customers, Step::Prove).await;
    let mut opened = Vec::new();
    for customer in customers {
        opened.push(customer.opened().await);
    }
    let (bearers, _customers) = all(opened, Step::Bear).await;
    Round { offers, redemptions, repeated, bearers, without_deposit }
}

/// What everybody does for each of their requests.
#[derive(Clone, Copy)]
enum Step {
    Ask,
    Pay,
    Prove,
    /// Pays from the session.
    Bear,
}

/// Has everybody take a step for all their requests.
async fn all(customers: Vec<Customer>, step: Step) -> (Figures, Vec<Customer>) {
    let began = Instant::now();
    let mut at_work = JoinSet::new();
    for customer in customers {
        at_work.spawn(customer.take(step));
    }
    let done = at_work.join_all().await;
    let seconds = began.elapsed().as_secs_f64();
    let (micros, customers): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    let micros = micros.concat();
    (Figures::of(micros.len(), seconds, micros), customers)
}

/// A request, and the last answer about it.
struct Asked {
    body: String,
    answer: Value,
    proof: String,
    /// The challenge of a session that came with the offer.
    challenge: Option<Challenge>,
    /// The credential with which the request is paid from the session.
    bearer: String,
}

struct Customer {
    stream: TcpStream,
    requests: Vec<Asked>,
    /// The request that opens the session.
    opening: String,
}

impl Customer {
    async fn new(options: &CustomersOptions, number: u32) -> Self {
        let stream = TcpStream::connect(options.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // No two are the same: the same request would get the same offer.
        let text = |n| format!("Why is the sky blue? {}.{number}.{n}", std::process::id());
        let body = |n| json!({ "request": text(n), "model": "sim-small", "maxOutputTokens": 32 }).to_string();
        let asked = |n| Asked {
            body: body(n),
            answer: Value::Null,
            proof: String::new(),
            challenge: None,
            bearer: String::new(),
        };
        let requests = (0..options.requests).map(asked).collect();
        Self { stream, requests, opening: body(options.requests) }
    }

    /// Opens a session, from which all requests are then paid.
    async fn opened(mut self) -> Self {
        let body = self.opening.clone();
        let mut challenge = None;
        for _try in 0..DEPOSIT_TRIES {
            let offered = self.post("/api/ask", "", &body, b"402").await;
            challenge = challenge_of(&offered).filter(has_deposit);
            if challenge.is_some() {
                break;
            }
        }
        let challenge = challenge.unwrap_or_else(|| {
            panic!("no session: expected a challenge with a deposit, got none in {DEPOSIT_TRIES} tries: the wallet is too slow")
        });
        let session_id = challenge.session_terms().unwrap().payment_hash;
        let hash = tithe_lightning::PaymentHash::from_bytes(session_id);
        let paid = body_of(&self.post(&format!("/dev/stub/pay/{hash}"), "", "{}", b"200").await);
        let preimage = bytes_of(paid["preimage"].as_str().unwrap());
        let invoice = body_of(&self.post("/dev/stub/invoice", "", r#"{"amountSats":0}"#, b"201").await);
        let return_invoice = invoice["paymentRequest"].as_str().unwrap().to_owned();
        let open = challenge.answer_session(&SessionAction::Open { preimage, return_invoice });
        self.post("/api/ask", &open, &body, b"200").await;
        for asked in &mut self.requests {
            let missing = || panic!("no session: expected a challenge of one, got none: {}", asked.answer);
            let challenge = asked.challenge.take().unwrap_or_else(missing);
            asked.bearer = challenge.answer_session(&SessionAction::Bearer { session_id, preimage });
        }
        self
    }

    async fn post(&mut self, path: &str, proof: &str, body: &str, expected: &[u8]) -> Vec<u8> {
        let answer = exchange(&mut self.stream, message(path, proof, body).as_bytes()).await;
        assert_eq!(&answer[9..12], expected, "{path}: {}", String::from_utf8_lossy(&answer));
        answer
    }

    /// Takes a step for each request. Returns how long each took, in microseconds.
    async fn take(mut self, step: Step) -> (Vec<u32>, Self) {
        let mut micros = Vec::new();
        let mut answers = Vec::new();
        for asked in &self.requests {
            let (request, expected) = asked.message(step);
            let began = Instant::now();
            let answer = exchange(&mut self.stream, request.as_bytes()).await;
            micros.push(began.elapsed().as_micros() as u32);
            assert_eq!(&answer[9..12], expected, "{}", String::from_utf8_lossy(&answer));
            answers.push(answer);
        }
        for (asked, answer) in self.requests.iter_mut().zip(answers) {
            asked.learn(step, &answer);
        }
        (micros, self)
    }
}

impl Asked {
    /// Whether the offer came with the invoice of a deposit.
    fn has_deposit(&self) -> bool {
        self.challenge.as_ref().is_some_and(has_deposit)
    }

    fn message(&self, step: Step) -> (String, &'static [u8]) {
        let Self { body, answer, proof, bearer, .. } = self;
        match step {
            Step::Ask => (message("/api/ask", "", body), b"402"),
            Step::Pay => {
                let hash = answer["offer"]["invoice"]["paymentHash"].as_str();
                let hash = hash.unwrap_or_else(|| panic!("no offer: {answer}"));
                (message(&format!("/dev/stub/pay/{hash}"), "", "{}"), b"200")
            }
            Step::Prove => (message("/api/ask", proof, body), b"200"),
            Step::Bear => (message("/api/ask", bearer, body), b"200"),
        }
    }

    /// Takes in what was answered. Nobody waits for it.
    fn learn(&mut self, step: Step, answer: &[u8]) {
        let body = body_of(answer);
        match step {
            Step::Ask => {
                self.challenge = challenge_of(answer);
                self.answer = body;
            }
            Step::Pay => {
                let proof = self.answer["offer"]["authorization"].as_str().unwrap();
                self.proof = proof.replace("<preimage>", body["preimage"].as_str().unwrap());
            }
            Step::Prove if self.answer["result"].is_null() => self.answer = body,
            Step::Prove => assert_eq!(self.answer, body, "the same proof buys the same answer"),
            Step::Bear => assert!(body["result"].is_string(), "{body}"),
        }
    }
}

/// A request, with the value of `Authorization` if that is not empty.
fn message(path: &str, proof: &str, body: &str) -> String {
    let credential = if proof.is_empty() { String::new() } else { format!("Authorization: {proof}\r\n") };
    let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n";
    let length = body.len();
    format!("POST {path} {head}{credential}Content-Length: {length}\r\n\r\n{body}")
}

/// The body of a response.
fn body_of(answer: &[u8]) -> Value {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    serde_json::from_slice(&answer[end + 4..]).unwrap()
}

/// The challenge of a session in the headers of a response.
fn challenge_of(answer: &[u8]) -> Option<Challenge> {
    let head = String::from_utf8_lossy(answer);
    let lines = head.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": "));
    let mut challenges = lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .flat_map(|(_, value)| Challenge::parse_all(value));
    challenges.find(|challenge| challenge.session_terms().is_some())
}

/// Whether a challenge of a session has the invoice of a deposit.
fn has_deposit(challenge: &Challenge) -> bool {
    challenge.session_terms().is_some_and(|terms| terms.deposit_invoice.is_some())
}

/// 32 bytes of hex digits.
fn bytes_of(hex: &str) -> [u8; 32] {
    std::array::from_fn(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
}

/// Sends a request, and reads the whole response.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::with_capacity(4 * 1024);
    loop {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert_ne!(read, 0, "the server closed a connection");
        if is_whole(&answer) {
            return answer;
        }
    }
}
