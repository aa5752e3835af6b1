//! Customers, who try again whatever happens.

use crate::ai_client::Way;
use crate::asker::Asker;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Somebody who buys, from whichever server.
pub(crate) struct Customer {
    asker: Asker,
    /// The job whose work the pool would have paid a part of, if only they had paid theirs.
    left: Option<Bought>,
}

/// A job that was asked for, and what was paid for it.
struct Bought {
    request: &'static str,
    path: String,
    fee: u64,
    paid: u64,
    /// The hold invoice that was paid for the work.
    held: Option<Value>,
}

/// Whether a customer pays for work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pays {
    Always,
    /// But not for work that the pool would pay a part of.
    UnlessOfferedAPart,
    Never,
}

impl Customer {
    pub(crate) const fn new(asker: Asker) -> Self {
        Self { asker, left: None }
    }

    /// Buys jobs, one after the other.
    pub(crate) async fn buy_all(mut self, jobs: u64) {
        for _ in 0..jobs {
            self.buy().await;
            self.ask().await;
            self.ask_ai().await;
        }
        if let Some(mut job) = self.left.take() {
            let over = self.follow(&mut job, Pays::Never).await.unwrap();
            assert_eq!(over["state"], "expired", "nobody has paid for the work: {over}");
        }
    }

    /// Asks for something that the pool pays for, if it pays for all of it.
    async fn ask(&self) {
        let body = json!({ "request": "Why is the sky blue?", "maxOutputTokens": 60 });
        let key = format!("the ask {:016x}", self.asker.random(u64::MAX));
        loop {
            let (status, reply) = self.asker.ask("POST", "/api/ask", Some((&body, &key))).await;
            match status {
                StatusCode::OK => {
                    let id = reply["requestId"].as_str().unwrap();
                    self.asker.tally.absorb(id, reply["absorbed_sats"].as_u64().unwrap());
                    self.asker.tally.ends.add("ask complete");
                    return;
                }
                StatusCode::PAYMENT_REQUIRED => {
                    assert_eq!(reply["code"], "payment_required", "{reply}");
                    return;
                }
                // The server lost its reservation while the database was away. It was given back.
                StatusCode::BAD_GATEWAY => {
                    self.asker.tally.retries.add(&format!("502 {}", reply["code"].as_str().unwrap()));
                }
                other => panic!("{other} {reply}"),
            }
            self.asker.pause().await;
        }
    }

    /// The same at the AI API, as a client with a key, who may leave and come back, or as an SDK.
    async fn ask_ai(&self) {
        let key = format!("the AI ask {:016x}", self.asker.random(u64::MAX));
        // Whoever is anonymous has no keys, and nobody pays.
        let way = if self.asker.random(2) == 0 { Way::Retried } else { Way::Keyed(key.clone()) };
        let request = self.asker.any_ai_request(format!("{key}: why is the sky blue?"), way);
        match self.asker.ai(&request).await {
            Ok(answered) => {
                assert_eq!(answered.absorbed_msats, answered.cost_msats, "the pool pays for all of it");
                self.asker.tally.absorb(&answered.id, answered.absorbed_msats.div_ceil(1_000));
                self.asker.tally.ends.add("AI ask complete");
            }
            Err(error) => assert_eq!(error["metadata"]["code"], "payment_required", "{error}"),
        }
    }

    /// Buys one job, trying again whenever a server was killed under it or had no database.
    async fn buy(&mut self) {
        let request = match self.asker.random(10) {
            0 => "[sim:reject] no",
            1 => "[sim:refuse] cannot be done",
            2 | 3 => "[sim:slow=10] take your time",
            _ => "Why is the sky blue?",
        };
        let key = format!("key-{}", self.asker.random(u64::MAX));
        let payment = if self.asker.random(3) == 0 { "held" } else { "prepaid" };
        let body = json!({ "request": request, "payment": payment });
        let (status, created) = self.asker.ask("POST", "/api/jobs", Some((&body, &key))).await;
        assert_eq!(status, StatusCode::CREATED, "{created}");
        let path = format!("/api/jobs/{}", created["jobId"].as_str().unwrap());
        let fee = created["evalInvoice"]["amountSats"].as_u64().unwrap();
        let paid = self.asker.pay(&created["evalInvoice"]).await;
        let mut job = Bought { request, path, fee, paid, held: None };
        let leaves = self.left.is_none() && self.asker.random(3) == 0;
        let pays = if leaves { Pays::UnlessOfferedAPart } else { Pays::Always };
        if self.follow(&mut job, pays).await.is_none() {
            self.left = Some(job);
        }
    }

    /// Follows a job to its end, paying for the work on the way; `None` if the customer has left it.
    async fn follow(&self, job: &mut Bought, pays: Pays) -> Option<Value> {
        let tally = &self.asker.tally;
        let mut served = None;
        loop {
            let seen = self.asker.get(&job.path).await;
            tally.tiers.add(seen["trust_tier"].as_str().unwrap());
            let absorbed = seen["absorbed_sats"].as_u64().unwrap();
            let state = seen["state"].as_str().unwrap();
            if state == "executing" && self.asker.random(4) == 0 {
                tally.pool(&self.asker.get("/api/pool").await);
            }
            match state {
                "awaiting_work_payment" if served.is_none() && pays != Pays::Never => {
                    served = Some(if absorbed > 0 { "partial" } else { "gate" });
                    check_offer(&seen, absorbed);
                    if absorbed > 0 && pays == Pays::UnlessOfferedAPart {
                        tally.served.add("partial, and left alone");
                        return None;
                    }
                    let invoice = &seen["workInvoice"];
                    if seen["payment"] == "held" {
                        self.asker.pay_held(invoice).await;
                        job.held = Some(invoice.clone());
                    } else {
                        job.paid += self.asker.pay(invoice).await;
                    }
                }
                "executing" if absorbed > 0 => served = served.or(Some("free")),
                "rejected" | "complete" | "failed" | "expired" => {
                    let served = served.or((absorbed > 0).then_some("free"));
                    if let Some(served) = served {
                        tally.served.add(served);
                    }
                    if let Some(invoice) = &job.held {
                        let taken = self.asker.taken(invoice).await;
                        tally.served.add(if taken > 0 { "held, and taken" } else { "held, and given back" });
                        job.paid += taken;
                    }
                    tally.end(job.request, &seen, job.paid, job.fee);
                    return Some(seen);
                }
                _ => self.asker.pause().await,
            }
        }
    }
}

/// The pool pays what the customer is not asked for.
fn check_offer(job: &Value, absorbed: u64) {
    let asked = job["workInvoice"]["amountSats"].as_u64().unwrap();
    let pricing = &job["pricing"];
    assert_eq!(pricing["amountSats"], asked, "{job}");
    assert_eq!(pricing["fullAmountSats"], asked + absorbed, "{job}");
}
