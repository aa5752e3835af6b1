//! Requests that are signed themselves (NIP-98).

use super::identity::fresh_key;
use super::prices::{REQUEST, order};
use crate::selftest::answer::Answer;
use crate::selftest::api::{Api, now, random};
use crate::selftest::check::{Area, Check};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use reqwest::Method;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_trust::SecretKey;

pub(super) fn area() -> Area {
    Area {
        name: "signed-requests",
        section: "Identity",
        checks: vec![
            Check::new(
                "signed-request",
                "a request that is signed itself (NIP-98) has the identity of its key",
                |run| signed_request(run).boxed_local(),
            ),
            Check::new(
                "signed-other-request",
                "a signature of another URL, method or body, or an old one, is a 401",
                |run| other_request(run).boxed_local(),
            )
            .after(&["signed-request"]),
            Check::new(
                "signed-replay",
                "a signed request that changes something cannot be sent again",
                |run| replay(run).boxed_local(),
            )
            .after(&["signed-request"]),
        ],
    }
}

async fn signed_request(run: &mut Run) -> Checked {
    let key = fresh_key();
    let answer = run.api.get("/api/identity/me").signed(&key).send().await?;
    // Behind a proxy, a server does not know its own address unless it is told.
    if answer.status == 401 && answer.detail().contains("TITHE_PUBLIC_URL") {
        return Err(Stop::skip(format!("this server does not know its own address: {}", answer.summary())));
    }
    let answer = answer.status(200)?;
    answer.is("/pubkey", key.pubkey().to_string())?;
    let answer =
        run.api.get("/api/estimate").query("request", REQUEST).signed(&key).send().await?.status(200)?;
    answer.is("/identity/pubkey", key.pubkey().to_string())?;
    let answer = run.api.post("/api/estimate").json(&order()).signed(&key).send().await?.status(200)?;
    answer.is("/identity/pubkey", key.pubkey().to_string())
}

/// What a signature is for.
struct Signed<'a> {
    path: &'a str,
    method: &'a str,
    body: &'a [u8],
    at: Timestamp,
}

/// Sends `POST /api/estimate` with a signature that may be for something else.
async fn sent_with(api: &Api, key: &SecretKey, signed: Signed<'_>) -> Checked<Answer> {
    let url = api.call(Method::POST, signed.path).url();
    let signature = key.http_auth(url.as_str(), signed.method, signed.body, signed.at, random());
    api.post("/api/estimate").json(&order()).header("authorization", &signature).send().await
}

async fn other_request(run: &mut Run) -> Checked {
    let (key, body) = (fresh_key(), order().to_string());
    let body = body.as_bytes();
    let right = || Signed { path: "/api/estimate", method: "POST", body, at: now() };
    sent_with(&run.api, &key, right()).await?.status(200)?;
    let hour_ago = now() - Duration::from_hours(1);
    for wrong in [
        Signed { path: "/api/jobs", ..right() },
        Signed { method: "GET", ..right() },
        Signed { body: b"{}", ..right() },
        Signed { at: hour_ago, ..right() },
    ] {
        sent_with(&run.api, &key, wrong).await?.problem(401, "invalid_identity")?;
    }
    let garbled = run.api.get("/api/identity/me").header("authorization", "Nostr e30=");
    garbled.send().await?.problem(401, "invalid_identity").map(drop)
}

async fn replay(run: &mut Run) -> Checked {
    let (key, body) = (fresh_key(), order());
    let url = run.api.post("/api/jobs").url();
    let signature = key.http_auth(url.as_str(), "POST", body.to_string().as_bytes(), now(), random());
    let send = || run.api.post("/api/jobs").json(&body).header("authorization", &signature).send();
    let created = send().await?.status(201)?;
    created.is("/trust_tier", "new")?;
    send().await?.problem(401, "invalid_identity").map(drop)
}
