//! What tests do with jobs.

use super::{Answer, Event, TestApp};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

impl TestApp {
    /// Asks for a job.
    pub(crate) async fn job_ask(&self, request: &str) -> Answer {
        self.post("/api/jobs", json!({ "request": request }).to_string()).await
    }

    /// Asks for a job with a key.
    pub(crate) async fn job_ask_keyed(&self, request: &str, key: &str) -> Answer {
        let body = json!({ "request": request }).to_string();
        self.send(self.request(Method::POST, "/api/jobs").header("Idempotency-Key", key).body(body)).await
    }

    /// Makes a job: its id, and its evaluation's payment hash.
    pub(crate) async fn job_create(&self, request: &str) -> (String, String) {
        let job = self.job_ask(request).await.ok(201);
        (text(&job["jobId"]), text(&job["evalInvoice"]["paymentHash"]))
    }

    /// Reads a job.
    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/api/jobs/{id}")).await.ok(200)
    }

    /// Pays an invoice over the dev route.
    pub(crate) async fn pay(&self, hash: &str) -> Value {
        let answer = self.try_pay(hash).await;
        let paid = answer.ok(200);
        self.seen.lock().unwrap().preimages.push(text(&paid["preimage"]));
        paid
    }

    /// The same, which may fail. What it answers may have a preimage, and is not remembered.
    pub(crate) async fn try_pay(&self, hash: &str) -> Answer {
        let request = self.request(Method::POST, &format!("/dev/stub/pay/{hash}"));
        let answer = Answer::read(request.send().await.unwrap()).await;
        answer.check();
        answer
    }

    /// Waits for a state by following the job. Fails at any other last state.
    pub(crate) async fn job_reaches(&self, id: &str, state: &str) -> Value {
        let mut events = self.follow(id, None).await;
        let reached = async {
            while let Some(Event { name, data, .. }) = events.next().await {
                if name == "state" && data["state"] == state {
                    return data;
                }
            }
            panic!("the stream ended before {state}");
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap()
    }

    /// Takes a new job to where its work is to be paid: its id, and its work's payment hash.
    pub(crate) async fn job_accepted(&self, request: &str) -> (String, String) {
        let (id, hash) = self.job_create(request).await;
        self.pay(&hash).await;
        let job = self.job_reaches(&id, "awaiting_work_payment").await;
        (id, text(&job["workInvoice"]["paymentHash"]))
    }

    /// Takes a new job to where its work is paid.
    pub(crate) async fn job_paid(&self, request: &str) -> String {
        let (id, hash) = self.job_accepted(request).await;
        self.pay(&hash).await;
        id
    }

    /// Takes a new job to its successful end.
    pub(crate) async fn job_complete(&self, request: &str) -> Value {
        let id = self.job_paid(request).await;
        self.job_reaches(&id, "complete").await
    }
}

/// A JSON string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
