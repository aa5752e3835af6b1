//! Customers, who try again whatever happens.

use crate::{any_of, random};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tithe_clock::SeededEntropy;

/// What the customers have seen, together.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) paid_sats: AtomicU64,
    pub(crate) owed_back_sats: AtomicU64,
    /// How jobs have ended.
    pub(crate) ends: Mutex<BTreeMap<String, u64>>,
    /// How often they tried again, and why.
    pub(crate) retries: Mutex<BTreeMap<String, u64>>,
}

/// Somebody who buys, from whichever server.
pub(crate) struct Customer {
    http: Client,
    addresses: Vec<String>,
    tally: Arc<Tally>,
    entropy: SeededEntropy,
}

impl Customer {
    pub(crate) fn new(addresses: Vec<String>, tally: Arc<Tally>, entropy: SeededEntropy) -> Self {
        // A server that says nothing for so long hangs, which is no answer.
        let http = Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        Self { http, addresses, tally, entropy }
    }

    /// Buys one job, trying again whenever a server was killed under it or had no database.
    pub(crate) async fn buy(&self) {
        let request = match self.random(10) {
            0 => "[sim:reject] no",
            1 => "[sim:refuse] cannot be done",
            2 | 3 => "[sim:slow=10] take your time",
            _ => "Why is the sky blue?",
        };
        let key = format!("key-{}", self.random(u64::MAX));
        let created = self.ask("/api/jobs", Some((json!({ "request": request }), &key))).await;
        let path = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
        let mut paid = self.pay(&created["evalInvoice"]).await;
        let mut paid_work = false;
        let job = loop {
            let job = self.ask(&path, None).await;
            match job["state"].as_str().unwrap() {
                "awaiting_work_payment" if !paid_work => {
                    paid += self.pay(&job["workInvoice"]).await;
                    paid_work = true;
                }
                "rejected" | "complete" | "failed" | "expired" => break job,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        self.check(request, &job, paid, created["evalInvoice"]["amountSats"].as_u64().unwrap());
    }

    /// What one paid is what one was charged and what one is owed.
    fn check(&self, request: &str, job: &Value, paid: u64, fee: u64) {
        let refund = job["refund"]["amountSats"].as_u64().unwrap();
        let state = job["state"].as_str().unwrap();
        let (end, charged) = match state {
            "complete" => (state, fee + job["charged"]["chargedSats"].as_u64().unwrap()),
            "rejected" => (state, fee),
            // The evaluation was paid for, unless it was what failed.
            "failed" => {
                let end = if request.contains("[sim:refuse]") { "failed as asked" } else { state };
                (end, if refund == paid { 0 } else { fee })
            }
            other => panic!("a paid job is {other}: {job}"),
        };
        assert_eq!(paid, charged + refund, "{job}");
        count(&self.tally.ends, end);
        self.tally.paid_sats.fetch_add(paid, Ordering::SeqCst);
        self.tally.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
    }

    async fn pay(&self, invoice: &Value) -> u64 {
        let path = format!("/dev/stub/pay/{}", invoice["paymentHash"].as_str().unwrap());
        loop {
            match self.send(self.http.post(self.url(&path))).await {
                // An earlier try was carried out, but its answer was lost.
                Some((StatusCode::CONFLICT, answer)) => assert_eq!(answer["code"], "not_payable", "{answer}"),
                Some((StatusCode::OK, _)) => {}
                Some((other, answer)) => panic!("paying: {other} {answer}"),
                None => {
                    self.pause().await;
                    continue;
                }
            }
            return invoice["amountSats"].as_u64().unwrap();
        }
    }

    /// Asks until there is an answer.
    async fn ask(&self, path: &str, post: Option<(Value, &str)>) -> Value {
        loop {
            let request = match &post {
                Some((body, key)) => {
                    self.http.post(self.url(path)).json(body).header("Idempotency-Key", *key)
                }
                None => self.http.get(self.url(path)),
            };
            match self.send(request).await {
                Some((StatusCode::OK | StatusCode::CREATED, answer)) => return answer,
                Some((StatusCode::CONFLICT, answer)) => {
                    assert_eq!(answer["code"], "request_in_progress", "{answer}");
                    count(&self.tally.retries, "409 request_in_progress");
                }
                Some((other, answer)) => panic!("{path}: {other} {answer}"),
                None => {}
            }
            self.pause().await;
        }
    }

    /// An answer; `None` if one must try again: the connection was lost, or the server says so, and when.
    async fn send(&self, request: RequestBuilder) -> Option<(StatusCode, Value)> {
        let answered = async {
            let answer = request.send().await?;
            let (status, wait) = (answer.status(), answer.headers().get("retry-after").cloned());
            Ok::<_, reqwest::Error>((status, wait, answer.text().await?))
        };
        let (status, wait, body) = match answered.await {
            Ok(answer) => answer,
            Err(lost) => {
                assert!(!lost.is_timeout(), "a server hangs: {lost:?}");
                count(&self.tally.retries, "lost connection");
                return None;
            }
        };
        let body: Value =
            serde_json::from_str(&body).unwrap_or_else(|wrong| panic!("{wrong}: {status} {body}"));
        if status != StatusCode::SERVICE_UNAVAILABLE {
            return Some((status, body));
        }
        let seconds = wait.as_ref().and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        assert!(seconds.is_some(), "a 503 says when to try again: {wait:?} {body}");
        count(&self.tally.retries, &format!("503 {}", body["code"].as_str().unwrap()));
        None
    }

    /// Sooner than they are asked to.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// A path on any of the servers.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.addresses[any_of(&self.addresses, &self.entropy)])
    }

    fn random(&self, below: u64) -> u64 {
        random(&self.entropy, 0, below)
    }
}

fn count(counts: &Mutex<BTreeMap<String, u64>>, what: &str) {
    *counts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
}
