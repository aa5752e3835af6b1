//! Installs of an app, whose plan includes so many requests, of which so many in the cloud.

use crate::ai_client::{Answered, Way};
use crate::asker::Asker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What `core` includes.
pub(crate) const REQUESTS: u64 = 12;
pub(crate) const CLOUD: u64 = 5;

/// How many ask for one install at once.
const ASKERS: u64 = 4;

/// What the askers of one install were served, by backend.
#[derive(Default)]
struct Served {
    cloud: AtomicU64,
    hardware: AtomicU64,
}

impl Served {
    fn on(&self, backend: &str) {
        let backend = match backend {
            "cloud" => &self.cloud,
            "hardware" => &self.hardware,
            other => panic!("{other}"),
        };
        backend.fetch_add(1, Ordering::SeqCst);
    }
}

/// Uses an install up, from several places at once. It is served exactly what its plan includes.
pub(crate) async fn use_up(asker: Asker, number: u64) {
    let asker = Arc::new(asker);
    let served = Arc::new(Served::default());
    let mut askers = tokio::task::JoinSet::new();
    for place in 0..ASKERS {
        let (asker, served) = (Arc::clone(&asker), Arc::clone(&served));
        askers.spawn(async move {
            for n in 0.. {
                let key = format!("install {number} place {place} request {n}");
                let is_done = match place % 2 {
                    0 => request(&asker, &served, &key).await,
                    _ => ai_request(&asker, &served, &key).await,
                };
                if !is_done {
                    return;
                }
            }
        });
    }
    while let Some(ended) = askers.join_next().await {
        ended.unwrap();
    }
    let left = asker.get("/api/credits").await;
    assert_eq!((&left["lifetimeConsumed"], &left["remaining"]), (&json!(REQUESTS), &json!(0)), "{left}");
    let by_backend = (served.cloud.load(Ordering::SeqCst), served.hardware.load(Ordering::SeqCst));
    assert_eq!(by_backend, (CLOUD, REQUESTS - CLOUD), "each credit was served once, where the plan says");
    asker.tally.ends.add("install used up");
}

/// Has a request done; returns whether there may be another.
async fn request(asker: &Asker, served: &Served, key: &str) -> bool {
    let body = json!({ "request": format!("{key}: why is the sky blue?"), "maxOutputTokens": 60 });
    loop {
        let (status, reply) = asker.ask("POST", "/api/ask", Some((&body, key))).await;
        match status {
            StatusCode::OK => {
                served.on(reply["backend"].as_str().unwrap());
                asker.tally.ends.add("install request complete");
                return true;
            }
            StatusCode::PAYMENT_REQUIRED => {
                assert_eq!(reply["code"], "out_of_credits", "{reply}");
                if is_used_up(asker).await {
                    return false;
                }
            }
            // The server lost its credit while the database was away. It was given back.
            StatusCode::BAD_GATEWAY => {
                asker.tally.retries.add(&format!("502 {}", reply["code"].as_str().unwrap()));
            }
            other => panic!("{other} {reply}"),
        }
        asker.pause().await;
    }
}

/// Has a request of the AI API done; returns whether there may be another.
async fn ai_request(asker: &Asker, served: &Served, key: &str) -> bool {
    let request = asker.any_ai_request(format!("{key}: why is the sky blue?"), Way::Keyed(key.to_owned()));
    let mut first: Option<Answered> = None;
    loop {
        match asker.ai(&request).await {
            Ok(answered) => {
                if let Some(first) = &first {
                    assert_eq!(
                        (&first.id, &first.text),
                        (&answered.id, &answered.text),
                        "done twice: {request:?}"
                    );
                }
                if let Some(backend) = &answered.backend {
                    served.on(backend);
                    asker.tally.ends.add("install request to the AI API complete");
                    return true;
                }
                // A stream that comes as it is generated does not say where; its repetition does.
                first = Some(answered);
            }
            Err(error) => {
                assert_eq!(error["metadata"]["code"], "out_of_credits", "{error}");
                assert_eq!(first, None, "an answer was lost: {request:?}");
                if is_used_up(asker).await {
                    return false;
                }
            }
        }
        asker.pause().await;
    }
}

/// Whether an install that has no credit now has none left. What a killed server has reserved comes back when its lease is over.
async fn is_used_up(asker: &Asker) -> bool {
    let left: Value = asker.get("/api/credits").await;
    assert!(left["lifetimeConsumed"].as_u64().unwrap() <= REQUESTS, "{left}");
    left["lifetimeConsumed"] == REQUESTS
}
