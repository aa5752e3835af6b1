//! Prepaid sessions: in the terminal, with a backend that misbehaves, and when a server is killed.

use crate::fake_backend::{Asked, FakeBackend, Reply};
use crate::server::Server;
use crate::test_env::{TestEnv, on_both_stores, pause};
use crate::text;
use serde_json::{Value, json};
use std::process::Output;
use std::time::{Duration, Instant};

on_both_stores! {
    a_session_is_opened_spent_and_closed_in_the_terminal,
    what_a_session_is_charged_and_what_is_lost_is_what_the_backend_has_made,
    a_killed_servers_requests_are_released_and_not_charged,
}

const PATIENCE: Duration = Duration::from_mins(1);

fn session(server: &Server, arguments: &[&str]) -> Output {
    let url = server.url("");
    server.run(&[&["session"], arguments, &["--server", &url]].concat())
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn opened(server: &Server, sats: &str) -> String {
    printed(&session(server, &["open", sats, "--dev-pay", "--no-qr"])).trim().to_owned()
}

fn a_session_is_opened_spent_and_closed_in_the_terminal(env: &TestEnv) {
    let server = env.start();
    let macaroon = opened(&server, "500");
    let with = |arguments: &[&str], macaroon: &str| {
        session(&server, &[arguments, &["--macaroon", macaroon]].concat())
    };
    assert!(printed(&with(&["show"], &macaroon)).contains("balance  500 sats"));
    let asked = with(&["ask", "Why is the sky blue?"], &macaroon);
    assert!(printed(&asked).contains("Why is the sky blue?"));
    assert!(text(&asked.stderr).contains("It cost "), "{}", text(&asked.stderr));
    assert_eq!(with(&["ask", "[sim:reject] please"], &macaroon).status.code(), Some(3));
    let narrow = server.run(&["macaroon", "narrow", &macaroon, "--caveat", "max_requests=1"]);
    let narrow = printed(&narrow).trim().to_owned();
    assert!(with(&["ask", "one", "--max-output-tokens", "50"], &narrow).status.success());
    let refused = with(&["ask", "two", "--max-output-tokens", "50"], &narrow);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("request limit reached: 1 allowed"), "{}", text(&refused.stderr));
    let keys = printed(&with(&["keys"], &macaroon));
    assert!(keys.contains("in 1 requests") && keys.contains("max_requests=1"), "{keys}");
    let id = keys.split_whitespace().next().unwrap();
    assert!(printed(&with(&["keys", "--revoke", id], &macaroon)).contains("revoked"));
    assert!(with(&["topup", "300", "--dev-pay", "--no-qr"], &macaroon).status.success());
    assert!(printed(&with(&["close"], &macaroon)).contains("closed; refund of "));
    assert!(printed(&with(&["show"], &macaroon)).contains(", closed"));
    for wrong in ["nonsense", ""] {
        assert_eq!(with(&["show"], wrong).status.code(), Some(1));
    }
    let wrong = server.run(&["macaroon", "narrow", &macaroon, "--caveat", "colour=red"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
    let report = env.audit();
    assert_eq!((&report["sessions"], &report["sessionsMsats"]), (&json!(1), &json!("0")), "{report}");
}

/// A client of a session over HTTP.
#[derive(Clone)]
struct Client {
    url: String,
    macaroon: String,
    id: String,
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

impl Client {
    fn new(server: &Server, sats: u64) -> Self {
        block_on(async {
            let body = json!({ "amountSats": sats });
            let created = http().post(server.url("/api/sessions")).json(&body).send().await.unwrap();
            let created: Value = created.json().await.unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let hash = text(&created["invoice"]["paymentHash"]);
            let paid = http().post(server.url(&format!("/dev/stub/pay/{hash}"))).send().await.unwrap();
            assert!(paid.status().is_success());
            Self {
                url: server.url(""),
                macaroon: text(&created["macaroon"]),
                id: text(&created["sessionId"]),
            }
        })
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/sessions/{}{path}", self.url.trim_end_matches('/'), self.id)
    }

    fn read(&self, path: &str) -> Value {
        block_on(async {
            let read = http().get(self.path(path)).bearer_auth(&self.macaroon).send().await.unwrap();
            read.json().await.unwrap()
        })
    }

    fn ask(&self, body: &Value) -> reqwest::Result<(u16, Value)> {
        block_on(async {
            let asked = http().post(self.path("/request")).bearer_auth(&self.macaroon).json(body);
            let answer = asked.send().await?;
            Ok((answer.status().as_u16(), answer.json().await?))
        })
    }
}

/// What a fake backend generated is charged to the session or booked as uncollected, to the last millisat.
fn what_a_session_is_charged_and_what_is_lost_is_what_the_backend_has_made(env: &TestEnv) {
    let usage = |input: u64, output: u64| json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
    let backend = FakeBackend::start(move |asked, _| match asked {
        Asked::Probe => Reply::text("fine"),
        Asked::Evaluation(text) if text.contains("reject") => Reply::Text {
            parts: vec![r#"{"accept":false,"reason":"no"}"#.to_owned()],
            finish: "stop",
            usage: Some(usage(100, 10)),
        },
        Asked::Evaluation(_) => Reply::Text {
            parts: vec![r#"{"accept":true}"#.to_owned()],
            finish: "stop",
            usage: Some(usage(100, 10)),
        },
        Asked::Work(text) if text.contains("empty") => {
            Reply::Text { parts: vec![], finish: "length", usage: Some(usage(50, 40)) }
        }
        Asked::Work(_) => Reply::Text {
            parts: vec!["an ".to_owned(), "answer".to_owned()],
            finish: "stop",
            usage: Some(usage(50, 20)),
        },
    });
    let settings = backend.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = env.start_with(&settings);
    let client = Client::new(&server, 100_000);
    let ask = |text: &str| client.ask(&json!({ "request": text, "maxOutputTokens": 100 })).unwrap();
    let (status, done) = ask("hello");
    assert_eq!(status, 200, "{done}");
    let (status, rejected) = ask("reject this");
    assert_eq!((status, &rejected["code"]), (422, &json!("request_rejected")), "{rejected}");
    let lost_msats =
        || -> i64 { env.audit()["accountsMsats"]["operator"].as_str().unwrap().parse().unwrap() };
    let before = lost_msats();
    let (status, failed) = ask("empty");
    assert_eq!((status, &failed["code"]), (502, &json!("work_failed")), "{failed}");
    let evaluation = rejected["costMsats"].as_u64().unwrap();
    let work = done["costMsats"].as_u64().unwrap() - evaluation;
    assert!(evaluation > 0 && work > 0);
    let session = client.read("");
    let charged = 2 * evaluation + work;
    assert_eq!(session["spentMsats"], charged, "{session}");
    assert_eq!(session["balanceMsats"], 100_000_000 - charged, "{session}");
    let lost = u64::try_from(before - lost_msats()).unwrap();
    // The evaluation of the request that failed is lost too. Forty tokens of output cost more than twenty.
    assert!(lost > evaluation + work, "{lost} of {evaluation} and {work}");
}

fn a_killed_servers_requests_are_released_and_not_charged(env: &TestEnv) {
    let mut server = env.start_with(&[("TITHE_LEASE_SECONDS", "1"), ("TITHE_SIM_DELTA_MS", "200")]);
    let client = Client::new(&server, 1_000);
    let asking = std::thread::spawn({
        let client = client.clone();
        move || client.ask(&json!({ "request": "tell me more", "maxOutputTokens": 200 }))
    });
    let began = Instant::now();
    while client.read("")["heldMsats"] == 0 {
        assert!(began.elapsed() < PATIENCE);
        pause();
    }
    server.kill();
    assert!(asking.join().unwrap().is_err(), "the server is gone");
    let server = env.start_with(&[("TITHE_LEASE_SECONDS", "1")]);
    let client = Client { url: server.url(""), ..client };
    loop {
        let session = client.read("");
        let sums = (&session["balanceMsats"], &session["spentMsats"]);
        assert_eq!(sums, (&json!(1_000_000), &json!(0)), "{session}");
        if session["heldMsats"] == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{session}");
        pause();
    }
    let history = client.read("/requests");
    assert_eq!(history["requests"][0]["state"], "failed", "{history}");
    env.audit();
}
