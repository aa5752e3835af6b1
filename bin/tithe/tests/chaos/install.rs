//! Installs of an app, whose plan includes so many requests, of which so many in the cloud.

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

/// Uses an install up, from several places at once. It is served exactly what its plan includes.
pub(crate) async fn use_up(asker: Asker, number: u64) {
    let asker = Arc::new(asker);
    let served = Arc::new(Served::default());
    let mut askers = tokio::task::JoinSet::new();
    for place in 0..ASKERS {
        let (asker, served) = (Arc::clone(&asker), Arc::clone(&served));
        askers.spawn(async move {
            for n in 0.. {
                if !request(&asker, &served, &format!("install {number} place {place} request {n}")).await {
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
                let backend = match reply["backend"].as_str().unwrap() {
                    "cloud" => &served.cloud,
                    "hardware" => &served.hardware,
                    other => panic!("{other}"),
                };
                backend.fetch_add(1, Ordering::SeqCst);
                asker.tally.ends.add("install request complete");
                return true;
            }
            // What a killed server has reserved comes back when its lease is over.
            StatusCode::PAYMENT_REQUIRED => {
                assert_eq!(reply["code"], "out_of_credits", "{reply}");
                let left: Value = asker.get("/api/credits").await;
                assert!(left["lifetimeConsumed"].as_u64().unwrap() <= REQUESTS, "{left}");
                if left["lifetimeConsumed"] == REQUESTS {
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
