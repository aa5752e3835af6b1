//! Customers buy while the server is killed at random moments.
//!
//! `just chaos` runs 200 jobs of 20 customers, `just chaos short` a tenth of that. What must hold: every job that was paid
//! ends, complete or failed with its refund due; nobody is charged twice; every retry finds its answer; `tithe audit` finds
//! nothing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod server;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use server::Server;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tithe_clock::{Entropy, SeededEntropy, SystemEntropy};

struct Plan {
    customers: u64,
    jobs_each: u64,
    kill_every_ms: (u64, u64),
}

/// What the customers have seen, together.
#[derive(Default)]
struct Tally {
    paid_sats: AtomicU64,
    owed_back_sats: AtomicU64,
    complete: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    retries: AtomicU64,
}

fn random(entropy: &dyn Entropy, from: u64, to: u64) -> u64 {
    from + u64::from_le_bytes(entropy.bytes()) % (to - from)
}

#[test]
#[ignore = "takes a minute: just chaos"]
fn no_sat_is_lost_or_invented_while_the_server_is_killed() {
    let long = std::env::var("TITHE_TEST_CHAOS").is_ok_and(|length| length == "long");
    let plan = if long {
        Plan { customers: 20, jobs_each: 10, kill_every_ms: (300, 2_000) }
    } else {
        Plan { customers: 10, jobs_each: 3, kill_every_ms: (300, 1_500) }
    };
    let system: &dyn Entropy = &SystemEntropy;
    let seed = random(system, 0, u64::MAX);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TITHE_DEV", "1"),
        ("TITHE_LEASE_SECONDS", "1"),
        ("TITHE_POLL_SECONDS", "1"),
        ("TITHE_SIM_LATENCY_MS", "40"),
        ("TITHE_SIM_DELTA_MS", "3"),
        ("TITHE_WALLET_SIM_FAULTS", "lose=20,fail=20,delay_ms=20"),
    ];
    let server = Arc::new(Mutex::new(Server::start(folder.path(), &settings)));
    let address = server.lock().unwrap().url("");
    let done = Arc::new(AtomicBool::new(false));
    let killer = std::thread::spawn({
        let (server, done) = (server.clone(), done.clone());
        move || kill_at_random(&server, &done, &SeededEntropy::new(seed), plan.kill_every_ms)
    });

    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut customers = tokio::task::JoinSet::new();
        for customer in 0..plan.customers {
            let (address, tally) = (address.clone(), tally.clone());
            let entropy = SeededEntropy::new(seed ^ (customer + 1));
            customers.spawn(async move {
                let customer = Customer { http: Client::new(), address, tally, entropy };
                for _ in 0..plan.jobs_each {
                    customer.buy().await;
                }
            });
        }
        while let Some(customer) = customers.join_next().await {
            customer.unwrap();
        }
    });
    done.store(true, Ordering::SeqCst);
    let kills = killer.join().unwrap();

    let mut server = server.lock().unwrap();
    assert!(server.stop());
    let audited = server.run(&["audit", "--json"]);
    let report: Value = serde_json::from_slice(&audited.stdout).unwrap();
    println!(
        "{} jobs in {:?}, {kills} kills, {} retries: {} complete, {} failed, {} rejected",
        report["jobs"],
        began.elapsed(),
        tally.retries.load(Ordering::SeqCst),
        tally.complete.load(Ordering::SeqCst),
        tally.failed.load(Ordering::SeqCst),
        tally.rejected.load(Ordering::SeqCst),
    );
    assert_eq!(report["sound"], true, "seed {seed}: {report:#}");
    // Each key made one job, whatever was retried; what customers paid is what arrived, and what they are owed is due.
    assert_eq!(report["jobs"], plan.customers * plan.jobs_each, "seed {seed}");
    assert_eq!(report["jobsMsats"], "0", "seed {seed}: every paid job has ended");
    let msats = |sats: &AtomicU64| (sats.load(Ordering::SeqCst) * 1_000).to_string();
    assert_eq!(report["accountsMsats"]["wallet"], format!("-{}", msats(&tally.paid_sats)), "seed {seed}");
    assert_eq!(report["accountsMsats"]["refunds_due"], msats(&tally.owed_back_sats), "seed {seed}");
    assert!(kills > 0, "nothing was killed");
}

fn kill_at_random(
    server: &Mutex<Server>,
    done: &AtomicBool,
    entropy: &dyn Entropy,
    every_ms: (u64, u64),
) -> u32 {
    let mut kills = 0;
    while !done.load(Ordering::SeqCst) {
        let moment = Instant::now() + Duration::from_millis(random(entropy, every_ms.0, every_ms.1));
        while Instant::now() < moment && !done.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if done.load(Ordering::SeqCst) {
            break;
        }
        let mut server = server.lock().unwrap();
        server.kill();
        server.restart();
        kills += 1;
    }
    kills
}

struct Customer {
    http: Client,
    address: String,
    tally: Arc<Tally>,
    entropy: SeededEntropy,
}

impl Customer {
    /// Buys one job, trying again whenever the server was killed under it.
    async fn buy(&self) {
        let entropy: &dyn Entropy = &self.entropy;
        let request = match random(entropy, 0, 10) {
            0 => "[sim:reject] no",
            1 => "[sim:refuse] cannot be done",
            2 | 3 => "[sim:slow=10] take your time",
            _ => "Why is the sky blue?",
        };
        let key = format!("key-{}", random(entropy, 0, u64::MAX));
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
        self.check(&job, paid, created["evalInvoice"]["amountSats"].as_u64().unwrap());
    }

    /// What one paid is what one was charged and what one is owed.
    fn check(&self, job: &Value, paid: u64, fee: u64) {
        let refund = job["refund"]["amountSats"].as_u64().unwrap();
        let (counter, charged) = match job["state"].as_str().unwrap() {
            "complete" => (&self.tally.complete, fee + job["charged"]["chargedSats"].as_u64().unwrap()),
            "rejected" => (&self.tally.rejected, fee),
            // The evaluation was paid for, unless it was what failed.
            "failed" if refund == paid => (&self.tally.failed, 0),
            "failed" => (&self.tally.failed, fee),
            other => panic!("a paid job is {other}: {job}"),
        };
        assert_eq!(paid, charged + refund, "{job}");
        counter.fetch_add(1, Ordering::SeqCst);
        self.tally.paid_sats.fetch_add(paid, Ordering::SeqCst);
        self.tally.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
    }

    async fn pay(&self, invoice: &Value) -> u64 {
        let path = format!("/dev/stub/pay/{}", invoice["paymentHash"].as_str().unwrap());
        loop {
            let answer = self.http.post(self.url(&path)).send().await;
            match answer.map(|answer| answer.status()) {
                // 409: an earlier try was carried out, but its answer was lost.
                Ok(StatusCode::OK | StatusCode::CONFLICT) => return invoice["amountSats"].as_u64().unwrap(),
                Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => self.again().await,
                Ok(other) => panic!("paying: {other}"),
            }
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
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                let body = answer.text().await;
                match (status, body) {
                    (StatusCode::OK | StatusCode::CREATED, Ok(body)) => {
                        return serde_json::from_str(&body).unwrap();
                    }
                    (StatusCode::CONFLICT, Ok(body)) => {
                        assert!(body.contains("request_in_progress"), "{body}");
                    }
                    (StatusCode::SERVICE_UNAVAILABLE, _) | (_, Err(_)) => {}
                    (other, Ok(body)) => panic!("{path}: {other} {body}"),
                }
            }
            self.again().await;
        }
    }

    async fn again(&self) {
        self.tally.retries.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}
