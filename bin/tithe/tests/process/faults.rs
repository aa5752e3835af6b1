//! Nobody pays for another's fault: the running server with a backend that misbehaves.

use crate::fake_backend::{Asked, FakeBackend, Reply};
use crate::server::Server;
use crate::test_env::{PAUSE, TestEnv, on_both_stores, pause};
use reqwest::Client;
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::{Duration, Instant};

on_both_stores! {
    a_poison_job_fails_alone_while_the_backend_is_away_for_a_while,
}

const PATIENCE: Duration = Duration::from_mins(1);

/// Makes a backend fail in some way.
type Script = Box<dyn Fn(&FakeBackend)>;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn start(env: &TestEnv, backend: &FakeBackend, more: &[(&str, &str)]) -> Server {
    let settings = backend.settings();
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(more);
    env.start_with(&all)
}

struct Customer<'a> {
    server: &'a Server,
    client: Client,
}

impl<'a> Customer<'a> {
    fn of(server: &'a Server) -> Self {
        Self { server, client: Client::builder().no_proxy().build().unwrap() }
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.client.post(self.server.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn job(&self, id: &str) -> Value {
        let url = self.server.url(&format!("/api/jobs/{id}"));
        let read = self.client.get(url).header("Prefer", "wait=5").send().await.unwrap();
        read.json().await.unwrap()
    }

    async fn pay(&self, invoice: &Value) {
        let hash = invoice["paymentHash"].as_str().unwrap();
        let paid = self.client.post(self.server.url(&format!("/dev/stub/pay/{hash}"))).send().await.unwrap();
        assert_eq!(paid.status(), 200);
    }

    /// Creates a job and pays its evaluation.
    async fn begin(&self, request: &str) -> String {
        let (status, created) = self.post("/api/jobs", json!({ "request": request })).await;
        assert_eq!(status, 201, "{created}");
        self.pay(&created["evalInvoice"]).await;
        created["jobId"].as_str().unwrap().to_owned()
    }

    /// Pays whatever is asked for until the job has ended.
    async fn end(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let job = self.job(id).await;
            match job["state"].as_str().unwrap() {
                "awaiting_work_payment" => self.pay(&job["workInvoice"]).await,
                "evaluating" | "executing" => {}
                _ => return job,
            }
            assert!(began.elapsed() < PATIENCE, "{job}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn buy(&self, request: &str) -> Value {
        let id = self.begin(request).await;
        self.end(&id).await
    }
}

fn a_poison_job_fails_alone_while_the_backend_is_away_for_a_while(env: &TestEnv) {
    let normally = |asked: &Asked| match asked {
        Asked::Work(text) if text.contains("poison") => Reply::error(500, "server_error", "it broke"),
        Asked::Work(text) => Reply::text(&format!("done: {text}")),
        Asked::Evaluation(_) => Reply::accept(),
        Asked::Probe => Reply::text("ok"),
    };
    let backend = FakeBackend::start(move |asked, _| normally(asked));
    let server = start(env, &backend, &[]);
    block_on(async {
        let customer = Customer::of(&server);
        let (poison, healthy) = (customer.begin("poison").await, customer.begin("healthy").await);
        let away = async {
            backend.answer(|_, _| Reply::Busy { retry_after: 1 });
            tokio::time::sleep(Duration::from_secs(4)).await;
            backend.answer(move |asked, _| normally(asked));
        };
        let ((), poison, healthy) = tokio::join!(away, customer.end(&poison), customer.end(&healthy));
        assert_eq!((&poison["state"], &healthy["state"]), (&json!("failed"), &json!("complete")));
        assert_eq!(healthy["result"], "done: healthy");
        assert_eq!(poison["refund"]["state"], "pending");
        // The poison job has spent its own attempts, and nobody else's.
        let tries =
            backend.asked().iter().filter(|asked| **asked == Asked::Work("poison".to_owned())).count();
        assert!((5..=20).contains(&tries), "{tries}");
        assert_eq!(customer.buy("another").await["state"], "complete");
    });
    env.audit();
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn answers_end_as_they_end_and_cost_what_they_cost() {
    let usage = |input: u64, output: u64| json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
    let chunk = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }).to_string();
    let end = |finish: &str, usage: Value| {
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }], "usage": usage })
            .to_string()
    };
    let done = || "[DONE]".to_owned();
    let error = || json!({ "error": { "message": "secret words", "type": "server_error" } }).to_string();
    // What is asked, how the backend answers, and the job's state, finish reason, output tokens and number of runs.
    let cases: Vec<(&str, Reply, &str, Value, Value, usize)> = vec![
        ("whole", Reply::text("fine"), "complete", json!("stop"), json!(5), 1),
        (
            "cut at the limit",
            Reply::Stream(vec![chunk("half"), end("length", usage(10, 7)), done()]),
            "complete",
            json!("length"),
            json!(7),
            1,
        ),
        (
            "filtered",
            Reply::Stream(vec![chunk("half"), end("content_filter", usage(10, 7)), done()]),
            "complete",
            json!("content_filter"),
            json!(7),
            1,
        ),
        (
            "an empty reason in between",
            Reply::Stream(vec![
                chunk("half"),
                end("", json!(null)),
                chunk(" more"),
                end("stop", usage(10, 8)),
                done(),
            ]),
            "complete",
            json!("stop"),
            json!(8),
            1,
        ),
        (
            "reasoning counted apart",
            Reply::Stream(vec![
                chunk("42"),
                end(
                    "stop",
                    json!({ "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 941, "completion_tokens_details": { "reasoning_tokens": 900 } }),
                ),
                done(),
            ]),
            "complete",
            json!("stop"),
            json!(909),
            1,
        ),
        (
            "no last blank line",
            Reply::Stream(vec![chunk("fine"), end("stop", usage(10, 5))]),
            "complete",
            json!("stop"),
            json!(5),
            1,
        ),
        (
            "null parts",
            Reply::Stream(vec![
                r#"{"choices":null}"#.to_owned(),
                r#"{"choices":[{"index":0,"delta":null}]}"#.to_owned(),
                "null".to_owned(),
                chunk("fine"),
                end("stop", usage(10, 5)),
                done(),
            ]),
            "complete",
            json!("stop"),
            json!(5),
            1,
        ),
        (
            "connection lost in the middle",
            Reply::Stream(vec![chunk("half")]),
            "failed",
            json!(null),
            json!(null),
            2,
        ),
        (
            "an error in the middle",
            Reply::Stream(vec![chunk("half"), error()]),
            "failed",
            json!(null),
            json!(null),
            1,
        ),
        (
            "content refused",
            Reply::error(400, "content_policy_violation", "no"),
            "failed",
            json!(null),
            json!(null),
            1,
        ),
    ];
    let replies: Vec<(String, Reply)> =
        cases.iter().map(|case| (case.0.to_owned(), case.1.clone())).collect();
    let backend = FakeBackend::start(move |asked, _| match asked {
        Asked::Work(text) => replies.iter().find(|(name, _)| name == text).unwrap().1.clone(),
        Asked::Evaluation(_) => Reply::accept(),
        Asked::Probe => Reply::text("ok"),
    });
    let env = TestEnv::sqlite();
    let mut server = start(&env, &backend, &[]);
    block_on(async {
        let customer = Customer::of(&server);
        let jobs = futures_util::future::join_all(cases.iter().map(|case| customer.buy(case.0))).await;
        for (job, (name, _, state, finish, output, runs)) in jobs.iter().zip(&cases) {
            assert_eq!((&job["state"], &job["finishReason"]), (&json!(state), finish), "{name}: {job}");
            assert_eq!(&job["usage"]["outputTokens"], output, "{name}");
            let tried =
                backend.asked().iter().filter(|asked| **asked == Asked::Work((*name).to_owned())).count();
            assert_eq!(tried, *runs, "{name}");
        }
    });
    env.audit();
    assert!(server.stop());
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(!log.contains("secret words") && !log.contains("sk-right"), "{log}");
}

#[test]
fn a_parameter_that_the_backend_does_not_take_is_left_out() {
    let backend = FakeBackend::start(|asked, _| match asked {
        Asked::Evaluation(_) => Reply::accept(),
        _ => Reply::text("fine"),
    });
    let env = TestEnv::sqlite();
    let server = start(&env, &backend, &[]);
    block_on(async {
        let customer = Customer::of(&server);
        assert_eq!(customer.buy("first").await["state"], "complete");
    });
}

#[test]
fn a_backend_that_cannot_work_takes_no_customers_money() {
    let refuse = |status: u16, code: &'static str| {
        move |_: &Asked, _: &str| Reply::error(status, code, "sk-right is wrong")
    };
    let html = |_: &Asked, _: &str| Reply::Status(200, "<html>sign in</html>".to_owned());
    let works = |asked: &Asked, key: &str| match asked {
        _ if key != "Bearer sk-right" => Reply::error(401, "invalid_api_key", "wrong key"),
        Asked::Evaluation(_) => Reply::accept(),
        Asked::Work(_) | Asked::Probe => Reply::text("fine"),
    };
    let scripts: [(&str, Script); 4] = [
        ("a wrong key", Box::new(move |backend| backend.answer(refuse(401, "invalid_api_key")))),
        ("an unknown model", Box::new(move |backend| backend.answer(refuse(404, "model_not_found")))),
        (
            "a quota that is used up",
            Box::new(move |backend| backend.answer(refuse(429, "insufficient_quota"))),
        ),
        ("a page instead of an API", Box::new(move |backend| backend.answer(html))),
    ];
    std::thread::scope(|scope| {
        for (name, break_it) in scripts {
            let backend = FakeBackend::start(works);
            break_it(&backend);
            scope.spawn(move || {
                let env = TestEnv::sqlite();
                let mut server = start(&env, &backend, &[]);
                block_on(async {
                    let customer = Customer::of(&server);
                    let ready = async || {
                        let ready = customer.client.get(server.url("/readyz")).send().await.unwrap();
                        ready.json::<Value>().await.unwrap()["checks"]["backend"]["ok"].clone()
                    };
                    let began = Instant::now();
                    while ready().await != false {
                        assert!(began.elapsed() < PATIENCE, "{name}");
                        tokio::time::sleep(PAUSE).await;
                    }
                    let (status, refused) = customer.post("/api/jobs", json!({ "request": "hello" })).await;
                    assert_eq!((status, &refused["code"]), (503, &json!("no_backend")), "{name}: {refused}");
                    backend.answer(works);
                    while ready().await != true {
                        assert!(began.elapsed() < PATIENCE, "{name}");
                        tokio::time::sleep(PAUSE).await;
                    }
                    assert_eq!(customer.buy("hello").await["state"], "complete", "{name}");
                });
                assert!(server.stop());
                let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
                let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
                // One for each model.
                assert_eq!(errors.len(), 2, "{name}: {errors:#?}");
                assert!(
                    errors.iter().all(|line| line.contains("the AI backend cannot work")),
                    "{name}: {errors:#?}"
                );
                assert!(!log.contains("sk-right") && !log.contains("sign in"), "{name}: {log}");
            });
        }
    });
}

#[test]
fn a_client_that_never_pays_keeps_nobody_out_and_leaves_nothing() {
    /// How long an unpaid job counts against its client, in seconds.
    const EXPIRY: u64 = 8;
    // `just test-flood` runs it for a minute.
    let seconds = std::env::var("TITHE_TEST_FLOOD_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let flood_time = Duration::from_secs(seconds);
    let env = TestEnv::sqlite();
    let server = env.start_with(&[
        ("TITHE_INVOICE_EXPIRY_SECONDS", &EXPIRY.to_string()),
        ("TITHE_LATE_PAYMENT_SECONDS", "1"),
        ("TITHE_RETENTION_SECONDS", "1"),
        ("TITHE_POLL_SECONDS", "1"),
        ("TITHE_MAX_UNPAID_PER_ADDRESS", "10"),
    ]);
    let text = "a stranger's text ".repeat(2_000);
    let (created, refused, took, bought) = block_on(async {
        let is_over = Cell::new(false);
        let flood = async {
            let (customer, body) = (Customer::of(&server), json!({ "request": text }));
            let (mut created, mut refused) = (0, 0);
            let began = Instant::now();
            // Long enough for invoices to expire, and for others to be taken instead.
            while began.elapsed() < flood_time || (created <= 10 && began.elapsed() < PATIENCE) {
                match customer.post("/api/jobs", body.clone()).await.0 {
                    201 => created += 1,
                    429 => refused += 1,
                    other => panic!("{other}"),
                }
            }
            is_over.set(true);
            (created, refused, began.elapsed())
        };
        let honest = async {
            let elsewhere = std::net::IpAddr::from([127, 0, 0, 2]);
            let client = Client::builder().no_proxy().local_address(elsewhere).build().unwrap();
            let customer = Customer { server: &server, client };
            let mut bought = 0_u64;
            while !is_over.get() || bought < 3 {
                assert_eq!(customer.buy(&format!("question {bought}")).await["state"], "complete");
                bought += 1;
            }
            bought
        };
        let ((created, refused, took), bought) = tokio::join!(flood, honest);
        (created, refused, took, bought)
    });
    // Ten at a time, and each counts until its invoice has expired.
    let most = 10 * (took.as_secs() / EXPIRY + 1);
    assert!(
        (11..=most).contains(&created) && refused > 50,
        "{created} created, {refused} refused in {took:?}"
    );
    // Their invoices expire, late payments are looked for, and then the next sweep deletes them.
    let began = Instant::now();
    while env.audit()["jobs"] != bought {
        assert!(began.elapsed() < PATIENCE, "{}", env.audit()["jobs"]);
        pause();
    }
    drop(server);
    let before = env.file().metadata().unwrap().len();
    env.execute("PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let after = env.file().metadata().unwrap().len();
    // What is left is the empty tables and the jobs that were bought, at some 8 kB each.
    let most = 500_000 + 16_000 * bought;
    assert!(before > after && after < most, "{before} bytes, compacted {after}, expected at most {most}");
    env.audit();
}

#[cfg(target_os = "linux")]
#[test]
fn slow_readers_of_a_long_answer_share_it() {
    use std::io::Write;
    const READERS: usize = 150;
    let long = "x".repeat(1_000);
    let parts: Vec<String> = vec![long; 4_000];
    let backend = FakeBackend::start(move |asked, _| match asked {
        Asked::Evaluation(_) => Reply::accept(),
        Asked::Probe => Reply::text("fine"),
        Asked::Work(_) => Reply::Text {
            parts: parts.clone(),
            finish: "stop",
            usage: Some(json!({ "prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110 })),
        },
    });
    let env = TestEnv::sqlite();
    let server = start(&env, &backend, &[]);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    };
    let job = block_on(async { Customer::of(&server).buy("a long answer").await });
    assert_eq!(job["result"].as_str().unwrap().len(), 4_000_000);
    let id = job["jobId"].as_str().unwrap();
    let before = resident();
    let events = format!("/api/jobs/{id}/events");
    // Readers that have lost their connection at some point each, and get the whole answer again.
    let stream_name = id.replace('-', "")[20..].to_owned();
    let resumed = |n: usize| format!("Last-Event-ID: 1-1-{}-{stream_name}\r\n", n * 1_000);
    for (path, resumes) in [(format!("/api/jobs/{id}"), false), (events.clone(), false), (events, true)] {
        let mut slow = Vec::new();
        for n in 0..READERS.min(if path.ends_with("events") { 90 } else { READERS }) {
            let header = if resumes { resumed(n) } else { String::new() };
            let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n").unwrap();
            slow.push(stream);
        }
        // Others are served meanwhile.
        block_on(async {
            for _ in 0..20 {
                assert_eq!(Customer::of(&server).job(id).await["state"], "complete");
            }
        });
        let grown = resident().saturating_sub(before);
        assert!(grown < 200, "{grown} MiB for {} readers of {path}", slow.len());
    }
}
