//! A customer who pays once and spends the balance.

use crate::asker::Asker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// What one session's deposit is, in sats.
const DEPOSIT_SATS: u64 = 2_000;

/// Opens a session, spends it, tops it up, and closes it. What was paid is what was charged and what is refunded.
pub(crate) async fn spend(asker: Asker, number: u64, requests: u64) {
    let (mut paid, path, macaroon) = open(&asker, number).await;
    let mut charged_msats = 0;
    for n in 0..requests {
        if n == requests / 2 {
            paid += top_up(&asker, &path, &macaroon).await;
        }
        charged_msats += request(&asker, &path, &macaroon, &format!("session {number} request {n}")).await;
    }
    let session = closed(&asker, &path, &macaroon).await;
    let refund = session["refund"]["amountSats"].as_u64().unwrap();
    assert_eq!(session["spentMsats"], charged_msats, "{session}");
    assert_eq!(refund, (paid * 1_000 - charged_msats) / 1_000, "{session}");
    asker.tally.owed_back_sats.fetch_add(refund, Ordering::SeqCst);
    asker.tally.ends.add("session closed");
}

/// Closes a session, and reads it when nothing is held any more.
pub(crate) async fn closed(asker: &Asker, path: &str, macaroon: &str) -> Value {
    let (status, closed) = asker.ask_with(Some(macaroon), "POST", &format!("{path}/close"), None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{closed}");
    // What a killed server still held is released when its lease is over.
    loop {
        let (status, session) = asker.ask_with(Some(macaroon), "GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{session}");
        if session["heldMsats"] == 0 {
            return session;
        }
        asker.pause().await;
    }
}

/// A session that is paid for: what was paid, in sats, its path and its macaroon. An invoice may expire while no server answers.
pub(crate) async fn open(asker: &Asker, number: u64) -> (u64, String, String) {
    for attempt in 0.. {
        let body = json!({ "amountSats": DEPOSIT_SATS });
        let key = format!("the session of customer {number}, attempt {attempt}");
        let (status, created) = asker.ask("POST", "/api/sessions", Some((&body, &key))).await;
        assert_eq!(status, StatusCode::CREATED, "{created}");
        if asker.pay(&created["invoice"]).await > 0 {
            asker.tally.paid_sats.fetch_add(DEPOSIT_SATS, Ordering::SeqCst);
            let path = format!("/api/sessions/{}", created["sessionId"].as_str().unwrap());
            let macaroon = created["macaroon"].as_str().unwrap().to_owned();
            // What the wallet has received is credited once the database is back.
            loop {
                let (status, session) = asker.ask_with(Some(&macaroon), "GET", &path, None).await;
                assert_eq!(status, StatusCode::OK, "{session}");
                if session["state"] != "awaiting_payment" {
                    return (DEPOSIT_SATS, path, macaroon);
                }
                asker.pause().await;
            }
        }
    }
    unreachable!("attempts have no end")
}

/// What was topped up, in sats: nothing if the invoice has expired.
async fn top_up(asker: &Asker, path: &str, macaroon: &str) -> u64 {
    let body = json!({ "amountSats": 500 });
    let path = format!("{path}/topup");
    let (status, answer) = asker.ask_with(Some(macaroon), "POST", &path, Some((&body, "top-up"))).await;
    // The answer to an earlier try may have been lost: then its invoice is pending.
    assert!([StatusCode::CREATED, StatusCode::CONFLICT].contains(&status), "{answer}");
    let paid = asker.pay(&answer["pendingTopup"]).await;
    asker.tally.paid_sats.fetch_add(paid, Ordering::SeqCst);
    paid
}

/// Has a request done, however often that takes; returns what was charged.
async fn request(asker: &Asker, path: &str, macaroon: &str, key: &str) -> u64 {
    let body = json!({ "request": format!("{key}: why is the sky blue?"), "maxOutputTokens": 60 });
    let path = format!("{path}/request");
    loop {
        let (status, reply) = asker.ask_with(Some(macaroon), "POST", &path, Some((&body, key))).await;
        match status {
            StatusCode::OK => {
                asker.tally.ends.add("session request complete");
                return reply["debitedMsats"].as_u64().unwrap();
            }
            // The server lost its hold while the database was away. Nothing was charged.
            StatusCode::BAD_GATEWAY => asker.tally.retries.add(&code(&reply)),
            other => panic!("{other} {reply}"),
        }
        asker.pause().await;
    }
}

fn code(problem: &Value) -> String {
    format!("502 {}", problem["code"].as_str().unwrap())
}
