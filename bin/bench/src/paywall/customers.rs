//! Customers who pay for each request by itself. They ask, pay and prove in turn, all at once.

use crate::figures::Figures;
use crate::load::is_whole;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Instant;
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
    /// Requests that nobody pays for: 402, with an invoice.
    pub(crate) offers: Figures,
    /// The same requests with their proofs.
    pub(crate) redemptions: Figures,
    /// The same again.
    pub(crate) repeated: Figures,
}

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
    let (_payments, customers) = all(customers, Step::Pay).await;
    let (redemptions, customers) = all(customers, Step::Prove).await;
    let (repeated, _customers) = all(customers, Step::Prove).await;
    Round { offers, redemptions, repeated }
}

/// What everybody does for each of their requests.
#[derive(Clone, Copy)]
enum Step {
    Ask,
    Pay,
    Prove,
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
}

struct Customer {
    stream: TcpStream,
    requests: Vec<Asked>,
}

impl Customer {
    async fn new(options: &CustomersOptions, number: u32) -> Self {
        let stream = TcpStream::connect(options.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // No two are the same: the same request would get the same offer.
        let text = |n| format!("Why is the sky blue? {}.{number}.{n}", std::process::id());
        let body = |n| json!({ "request": text(n), "model": "sim-small", "maxOutputTokens": 32 }).to_string();
        let asked = |n| Asked { body: body(n), answer: Value::Null, proof: String::new() };
        Self { stream, requests: (0..options.requests).map(asked).collect() }
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
    fn message(&self, step: Step) -> (String, &'static [u8]) {
        let Self { body, answer, proof } = self;
        let (path, credential, body, expected): (_, _, _, &[u8]) = match step {
            Step::Ask => ("/api/ask".to_owned(), String::new(), body.as_str(), b"402"),
            Step::Pay => {
                let hash = answer["offer"]["invoice"]["paymentHash"].as_str();
                let hash = hash.unwrap_or_else(|| panic!("no offer: {answer}"));
                (format!("/dev/stub/pay/{hash}"), String::new(), "{}", b"200")
            }
            Step::Prove => {
                ("/api/ask".to_owned(), format!("Authorization: {proof}\r\n"), body.as_str(), b"200")
            }
        };
        let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n";
        let length = body.len();
        (format!("POST {path} {head}{credential}Content-Length: {length}\r\n\r\n{body}"), expected)
    }

    /// Takes in what was answered. Nobody waits for it.
    fn learn(&mut self, step: Step, answer: &[u8]) {
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let body: Value = serde_json::from_slice(&answer[body + 4..]).unwrap();
        match step {
            Step::Ask => self.answer = body,
            Step::Pay => {
                let proof = self.answer["offer"]["authorization"].as_str().unwrap();
                self.proof = proof.replace("<preimage>", body["preimage"].as_str().unwrap());
            }
            Step::Prove if self.answer["result"].is_null() => self.answer = body,
            Step::Prove => assert_eq!(self.answer, body, "the same proof buys the same answer"),
        }
    }
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
