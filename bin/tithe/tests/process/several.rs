//! Several servers on one database.

use crate::events::Events;
use crate::server::Server;
use crate::test_env::TestEnv;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_test_postgres::TestDatabase;

/// What another server does must be told well before followers look by themselves, which is every 30 s.
const PROMPTLY: Duration = Duration::from_secs(5);

/// How long the rest may take.
const PATIENCE: Duration = Duration::from_mins(1);

async fn empty() -> TestEnv {
    TestEnv::of(TestDatabase::create("empty", async |_| Ok(())).await)
}

/// Servers of one operator: one database, one wallet, one secret.
fn three(env: &TestEnv) -> [Server; 3] {
    // Only what is told can be prompt: the wallet is not asked while a test runs.
    [(); 3].map(|()| env.start_with(&[("TITHE_POLL_SECONDS", "600")]))
}

async fn post(server: &Server, path: &str, body: Value) -> Value {
    let answer = Client::new().post(server.url(path)).json(&body).send().await.unwrap();
    let answer = answer.error_for_status().unwrap();
    answer.json().await.unwrap()
}

async fn get(server: &Server, path: &str) -> Value {
    let answer = Client::new().get(server.url(path)).send().await.unwrap().error_for_status().unwrap();
    answer.json().await.unwrap()
}

async fn pay(server: &Server, invoice: &Value) {
    post(server, &format!("/dev/stub/pay/{}", invoice["paymentHash"].as_str().unwrap()), json!({})).await;
}

#[tokio::test]
async fn a_job_made_on_one_server_and_paid_on_another_is_followed_on_a_third() {
    let env = empty().await;
    let [a, b, c] = three(&env);
    let created = post(&a, "/api/jobs", json!({ "request": "Why is the sky blue?" })).await;
    let job = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
    let mut events = Events::of(&c, &job).await;
    events.reach("awaiting_eval_payment", PROMPTLY).await;
    pay(&b, &created["evalInvoice"]).await;
    let accepted = events.reach("awaiting_work_payment", PROMPTLY).await;
    pay(&b, &accepted["workInvoice"]).await;
    events.reach("executing", PROMPTLY).await;
    let complete = events.reach("complete", PROMPTLY).await;
    assert!(events.next().await.is_none(), "the stream ends with the job");
    for server in [&a, &b, &c] {
        assert_eq!(get(server, &job).await, complete);
    }
    assert_eq!(env.audit()["jobs"], 1);
}

#[tokio::test]
async fn a_repeated_request_is_answered_alike_by_whichever_server_it_reaches() {
    let env = empty().await;
    let servers = three(&env);
    let mut answers = Vec::new();
    for server in &servers {
        let request =
            Client::new().post(server.url("/api/jobs")).header("Idempotency-Key", "once, and not again");
        let answer = request.json(&json!({ "request": "hello" })).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answers.push(answer.json::<Value>().await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(env.audit()["jobs"], 1);
}

#[tokio::test]
async fn the_work_of_a_killed_server_is_finished_by_another() {
    let env = empty().await;
    let start = || env.start_with(&[("TITHE_POLL_SECONDS", "600"), ("TITHE_LEASE_SECONDS", "1")]);
    // Alone, so that the work is its own.
    let mut worker = start();
    let created =
        post(&worker, "/api/jobs", json!({ "request": "[sim:slow=150] Why is the sky blue?" })).await;
    let job = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
    let mut events = Events::of(&worker, &job).await;
    pay(&worker, &created["evalInvoice"]).await;
    let accepted = events.reach("awaiting_work_payment", PATIENCE).await;
    pay(&worker, &accepted["workInvoice"]).await;
    events.reach_text(PATIENCE).await;

    let others = [start(), start()];
    let mut events = Events::of(&others[0], &job).await;
    events.reach_text(PROMPTLY).await;
    worker.kill();
    assert_eq!(get(&others[1], &job).await["state"], "executing");
    let complete = events.reach("complete", PATIENCE).await;
    worker.restart().unwrap();
    for server in [&others[0], &others[1], &worker] {
        assert_eq!(get(server, &job).await, complete);
    }
    let report = env.audit();
    assert_eq!((&report["jobs"], &report["jobsMsats"]), (&json!(1), &json!("0")), "{report:#}");
}

/// A server that stops has a second for its work; its lease lasts for 30.
const STOPS_SOON: [(&str, &str); 2] = [("TITHE_POLL_SECONDS", "600"), ("TITHE_SHUTDOWN_SECONDS", "1")];

#[tokio::test]
async fn the_work_that_a_stopping_server_hands_back_goes_on_at_another_at_once() {
    let env = empty().await;
    // Alone, so that the work is its own.
    let mut leaving = env.start_with(&STOPS_SOON);
    let created =
        post(&leaving, "/api/jobs", json!({ "request": "[sim:slow=150] Why is the sky blue?" })).await;
    let job = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
    let mut events = Events::of(&leaving, &job).await;
    pay(&leaving, &created["evalInvoice"]).await;
    let accepted = events.reach("awaiting_work_payment", PATIENCE).await;
    pay(&leaving, &accepted["workInvoice"]).await;
    events.reach_text(PATIENCE).await;
    let staying = env.start_with(&STOPS_SOON);
    assert!(leaving.stop());
    // Text comes only from a server that does the work.
    let mut events = Events::of(&staying, &job).await;
    events.reach_text(PROMPTLY).await;
    let complete = events.reach("complete", PATIENCE).await;
    assert_eq!(get(&staying, &job).await, complete);
    let report = env.audit();
    assert_eq!((&report["jobs"], &report["jobsMsats"]), (&json!(1), &json!("0")), "{report:#}");
}
