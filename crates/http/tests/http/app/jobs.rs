//! Test helpers for jobs.

use super::{Answer, Event, TestApp};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

impl TestApp {
    /// Requests a job and returns the response.
    pub(crate) async fn job_ask(&self, request: &str) -> Answer {
        self.post("/api/jobs", json!({ "request": request }).to_string()).await
    }

    /// Creates a job with an idempotency key, which is made long enough.
    pub(crate) async fn job_ask_keyed(&self, request: &str, key: &str) -> Answer {
        let key = format!("{key:_<16}");
        let body = json!({ "request": request }).to_string();
        self.send(self.request(Method::POST, "/api/jobs").header("Idempotency-Key", key).body(body)).await
    }

    /// Creates a job. Returns its id and the payment hash of its evaluation invoice.
    pub(crate) async fn job_create(&self, request: &str) -> (String, String) {
        let job = self.job_ask(request).await.ok(201);
        (text(&job["jobId"]), text(&job["evalInvoice"]["paymentHash"]))
    }

    /// Reads a job.
    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/api/jobs/{id}")).await.ok(200)
    }

    /// Pays an invoice through the development route.
    pub(crate) async fn pay(&self, hash: &str) -> Value {
        let answer = self.try_pay(hash).await;
        let paid = answer.ok(200);
        self.seen.lock().unwrap().preimages.push(text(&paid["preimage"]));
        paid
    }

    /// Like [`Self::pay`], but may fail. The response may contain a preimage, so it is not recorded.
    pub(crate) async fn try_pay(&self, hash: &str) -> Answer {
        let request = self.request(Method::POST, &format!("/dev/stub/pay/{hash}"));
        let answer = Answer::read(request.send().await.unwrap()).await;
        answer.check();
        answer
    }

    /// Follows the job until it reaches a state. Fails if it ends in a different state.
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

    /// Creates a job and pays its evaluation. Returns its id and the payment hash of its work invoice.
    pub(crate) async fn job_accepted(&self, request: &str) -> (String, String) {
        let (id, hash) = self.job_create(request).await;
        self.pay(&hash).await;
        let job = self.job_reaches(&id, "awaiting_work_payment").await;
        (id, text(&job["workInvoice"]["paymentHash"]))
    }

    /// Creates a job and pays its evaluation and its work.
    pub(crate) async fn job_paid(&self, request: &str) -> String {
        let (id, hash) = self.job_accepted(request).await;
        self.pay(&hash).await;
        id
    }

    /// Creates a job, pays for it, and waits until it is complete.
    pub(crate) async fn job_complete(&self, request: &str) -> Value {
        let id = self.job_paid(request).await;
        self.job_reaches(&id, "complete").await
    }
}

/// A JSON string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
