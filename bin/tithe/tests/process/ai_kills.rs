//! A server that is killed in the middle of streams of the AI API: nothing was charged, nothing stays held, and a repetition is done anew.

use crate::server::Server;
use crate::test_env::{PAUSE, TestEnv, on_both_stores};
use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_stores! {
    a_stream_whose_server_is_killed_at_any_piece_is_charged_only_when_it_is_repeated,
}

const PATIENCE: Duration = Duration::from_mins(1);

/// How many pieces of each stream have come when the server is killed, and how slow its backend is: so slow that the streams would last
/// for a quarter of a minute more, whatever else the machine does.
const KILLS: [(usize, &[(&str, &str)]); 4] = [
    (0, &[("TITHE_SIM_LATENCY_MS", "60000")]),
    (1, &[("TITHE_SIM_DELTA_MS", "1000")]),
    (5, &[("TITHE_SIM_DELTA_MS", "500")]),
    (20, &[("TITHE_SIM_DELTA_MS", "300")]),
];

const DEPOSIT_SATS: u64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Chat,
    Responses,
    Messages,
}

/// How a client repeats a request, and who pays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A session pays, and the client has chosen a key.
    Keyed,
    /// A session pays, and the client is an SDK, which says only how often it has tried.
    Retried,
    /// The plan of an install includes it, and the client has chosen a key.
    Included,
}

impl Wire {
    const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    fn body(self, text: &str) -> Value {
        let messages = json!([{ "role": "user", "content": text }]);
        match self {
            Self::Chat => json!({
                "model": "sim-large", "messages": messages, "max_tokens": 400, "stream": true,
                "stream_options": { "include_usage": true }
            }),
            Self::Responses => {
                json!({ "model": "sim-large", "input": text, "max_output_tokens": 400, "stream": true })
            }
            Self::Messages => {
                json!({ "model": "sim-large", "messages": messages, "max_tokens": 400, "stream": true })
            }
        }
    }

    /// How many pieces of the text are in a stream so far.
    fn pieces(self, stream: &str) -> usize {
        match self {
            // The first chunk has no text.
            Self::Chat => stream.matches("data: {").count().saturating_sub(1),
            Self::Responses => stream.matches("event: response.output_text.delta").count(),
            Self::Messages => stream.matches("event: content_block_delta").count(),
        }
    }

    /// Whether a client takes a stream for whole.
    fn is_whole(self, stream: &str) -> bool {
        let end = match self {
            Self::Chat => "data: [DONE]\n\n",
            Self::Responses => "event: response.completed\n",
            Self::Messages => "event: message_stop\n",
        };
        stream.contains(end)
    }
}

/// What the stream says that it cost.
fn cost(stream: &str) -> u64 {
    let (_, cost) = stream.rsplit_once("\"cost_msats\":").unwrap_or_else(|| panic!("no cost: {stream}"));
    cost.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn id(response: &Response) -> String {
    response.headers()["x-generation-id"].to_str().unwrap().to_owned()
}

/// A customer with a session and an install.
struct Customer {
    http: Client,
    url: String,
    macaroon: String,
    session: String,
    install: String,
    kill: usize,
}

impl Customer {
    async fn new(server: &Server, kill: usize) -> Self {
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let body = json!({ "amountSats": DEPOSIT_SATS });
        let created = http.post(server.url("/api/sessions")).json(&body).send().await.unwrap();
        let created: Value = created.json().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let hash = text(&created["invoice"]["paymentHash"]);
        let paid = http.post(server.url(&format!("/dev/stub/pay/{hash}"))).send().await.unwrap();
        assert!(paid.status().is_success());
        let install = tithe_ledger::uuid::Uuid::from_u64_pair(7, kill.try_into().unwrap()).to_string();
        let (macaroon, session) = (text(&created["macaroon"]), text(&created["sessionId"]));
        Self { http, url: server.url(""), macaroon, session, install, kill }
    }

    /// The try of this number, from 0.
    fn request(&self, wire: Wire, way: Way, tried: u32) -> RequestBuilder {
        let text = format!("{way:?}: why was the server killed after {} pieces?", self.kill);
        let request = self.http.post(format!("{}{}", self.url, wire.path())).json(&wire.body(&text));
        let key = format!("{wire:?}-{way:?}-{}", self.kill);
        match way {
            Way::Keyed => request.bearer_auth(&self.macaroon).header("Idempotency-Key", key),
            Way::Retried => {
                request.header("x-api-key", &self.macaroon).header("x-stainless-retry-count", tried)
            }
            Way::Included => request.header("X-Install-Id", &self.install).header("Idempotency-Key", key),
        }
    }

    async fn read(&self, path: &str) -> Value {
        let read = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.macaroon);
        read.send().await.unwrap().json().await.unwrap()
    }

    async fn session(&self) -> Value {
        self.read(&format!("/api/sessions/{}", self.session)).await
    }

    /// The states of the session's requests.
    async fn states(&self) -> Vec<String> {
        let history = self.read(&format!("/api/sessions/{}/requests?limit=20", self.session)).await;
        let requests = history["requests"].as_array().unwrap().iter();
        requests.map(|request| request["state"].as_str().unwrap().to_owned()).collect()
    }

    async fn consumed(&self) -> u64 {
        let read = self.http.get(format!("{}/api/credits", self.url)).header("X-Install-Id", &self.install);
        let credits: Value = read.send().await.unwrap().json().await.unwrap();
        let used = |field: &str| credits[field].as_u64().unwrap_or_else(|| panic!("{credits}"));
        used("lifetimeConsumed") + used("monthlyConsumed")
    }

    /// A whole answer, however often that takes.
    async fn repeat(&self, wire: Wire, way: Way) -> (String, String) {
        loop {
            let response = self.request(wire, way, 1).send().await.unwrap();
            let (status, in_progress) = (response.status().as_u16(), way != Way::Retried);
            if status == 409 && in_progress {
                // The lease of its key runs out.
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let id = response.headers().get("x-generation-id").map(|id| id.to_str().unwrap().to_owned());
            let text = response.text().await.unwrap();
            assert_eq!(status, 200, "{wire:?} {way:?}: {text}");
            assert!(wire.is_whole(&text), "{wire:?} {way:?}: {text}");
            return (id.unwrap(), text);
        }
    }
}

fn all() -> impl Iterator<Item = (Wire, Way)> {
    let ways = [Way::Keyed, Way::Retried, Way::Included];
    Wire::ALL.into_iter().flat_map(move |wire| ways.map(|way| (wire, way)))
}

/// A stream, as far as it has come.
struct Begun {
    wire: Wire,
    way: Way,
    id: String,
    response: Response,
    text: String,
}

impl Begun {
    /// Reads one more part; says whether there was one.
    async fn more(&mut self) -> bool {
        let part = self.response.chunk().await.ok().flatten();
        self.text.push_str(&String::from_utf8_lossy(part.as_deref().unwrap_or_default()));
        part.is_some()
    }
}

/// Begins all streams, and returns once so many pieces of each have come.
async fn begin(customer: &Customer) -> Vec<Begun> {
    let streams = all().map(async |(wire, way)| {
        let response = customer.request(wire, way, 0).send().await.unwrap();
        assert_eq!(response.status(), 200, "{wire:?} {way:?}");
        let mut begun = Begun { wire, way, id: id(&response), response, text: String::new() };
        while wire.pieces(&begun.text) < customer.kill {
            assert!(begun.more().await, "{wire:?} {way:?} has ended: {}", begun.text);
        }
        assert!(!wire.is_whole(&begun.text), "{wire:?} {way:?} was not slow: {}", begun.text);
        begun
    });
    join_all(streams).await
}

/// Sends all requests, and kills the server when all have begun, and nothing of an answer has come.
async fn kill_before_the_first(customer: &Customer, server: &mut Server) {
    let began = Instant::now();
    let asked = join_all(all().map(async |(wire, way)| customer.request(wire, way, 0).send().await));
    let killed = async {
        while customer.states().await != ["running"; 6] {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(PAUSE).await;
        }
        server.kill();
    };
    let (asked, ()) = tokio::join!(asked, killed);
    assert!(asked.iter().all(Result::is_err), "nothing has come");
}

/// That nothing was charged, and that what was set aside is given back once the leases are over.
async fn check_released(customer: &Customer) {
    let began = Instant::now();
    loop {
        let session = customer.session().await;
        let sums = (&session["balanceMsats"], &session["spentMsats"]);
        assert_eq!(sums, (&json!(DEPOSIT_SATS * 1_000), &json!(0)), "{session}");
        assert_eq!(customer.consumed().await, 0);
        if session["heldMsats"] == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{session}");
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(customer.states().await, ["failed"; 6]);
}

/// That each repetition gets a whole answer, and that each is charged once, however often it is repeated.
async fn check_repeated(customer: &Customer, before: &[String]) {
    let first = join_all(all().map(|(wire, way)| customer.repeat(wire, way))).await;
    let paid = all().zip(&first).filter(|((_, way), _)| *way != Way::Included);
    let charged: u64 = paid.map(|(_, (_, text))| cost(text)).sum();
    for _ in 0..2 {
        let session = customer.session().await;
        let sums = (&session["spentMsats"], &session["heldMsats"]);
        assert_eq!(sums, (&json!(charged), &json!(0)), "{session}");
        assert_eq!(customer.consumed().await, 3);
        let states = customer.states().await;
        assert_eq!(states.iter().filter(|state| *state == "complete").count(), 6, "{states:?}");
        let again = join_all(all().map(|(wire, way)| customer.repeat(wire, way))).await;
        assert!(again.iter().zip(&first).all(|((again, _), (first, _))| again == first), "done anew");
    }
    assert!(first.iter().all(|(id, _)| !before.contains(id)));
}

/// Starts a server whose backend is as slow as these settings say.
fn start(env: &TestEnv, slow: &[(&str, &str)]) -> Server {
    let settings =
        [("TITHE_LEASE_SECONDS", "1"), ("TITHE_REQUESTS_PER_SECOND", "0"), ("TITHE_PLAN_CORE", "lifetime:3")];
    env.start_with(&[&settings, slow].concat())
}

fn a_stream_whose_server_is_killed_at_any_piece_is_charged_only_when_it_is_repeated(env: &TestEnv) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (kill, slow) in KILLS {
        let mut server = start(env, slow);
        let mut customer = runtime.block_on(Customer::new(&server, kill));
        let mut before = Vec::new();
        if kill == 0 {
            runtime.block_on(kill_before_the_first(&customer, &mut server));
        } else {
            let streams = runtime.block_on(begin(&customer));
            server.kill();
            for mut stream in streams {
                while runtime.block_on(stream.more()) {}
                let Begun { wire, way, id, text, .. } = stream;
                assert!(!wire.is_whole(&text), "{wire:?} {way:?}: {text}");
                before.push(id);
            }
        }
        let mut server = start(env, &[]);
        customer.url = server.url("");
        runtime.block_on(async {
            check_released(&customer).await;
            for id in &before {
                let record = customer.read(&format!("/v1/generation?id={id}")).await;
                let record = &record["data"];
                // The requests of installs have no record.
                assert!(record.is_null() || record["state"] == "failed", "{record}");
                assert!(record.is_null() || record["charged_msats"] == 0, "{record}");
            }
            check_repeated(&customer, &before).await;
        });
        assert!(server.stop());
    }
    env.audit();
}
