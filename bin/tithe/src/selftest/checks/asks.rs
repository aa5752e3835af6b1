//! Plain requests: who pays for them, and how.

use super::credits::{ASK, credits, has_left};
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST, order};
use super::spending::charged;
use crate::selftest::answer::Answer;
use crate::selftest::api::random_text;
use crate::selftest::check::{Area, Check};
use crate::selftest::install::{Credits, new_install, of_install, shown};
use crate::selftest::known::{IncludedRequest, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use reqwest::header::HeaderMap;
use serde_json::json;

pub(super) fn area() -> Area {
    Area {
        name: "plain-requests",
        section: "Paid in one go",
        checks: vec![
            Check::new(
                "ask-no-payer",
                "a request that nobody pays for is a 402 that says what it costs and how to pay",
                |run| no_payer(run).boxed_local(),
            ),
            Check::new(
                "ask-invalid",
                "an invalid body, or invalid credentials beside an install, are refused and take no credit",
                |run| invalid(run).boxed_local(),
            )
            .after(&["credits-read"]),
            Check::new(
                "ask-credit",
                "a request of an install takes exactly one credit, and says where it ran",
                |run| credit(run).boxed_local(),
            )
            .after(&["credits-read"]),
            Check::new(
                "ask-replay",
                "a repeated request with its key takes no credit, and the key belongs to its install",
                |run| replay(run).boxed_local(),
            )
            .after(&["ask-credit"]),
            Check::new(
                "ask-other-body",
                "the same key with another body is a 409, and takes no credit",
                |run| other_body(run).boxed_local(),
            )
            .after(&["ask-replay"]),
            Check::new("ask-stream", "a streamed answer is the same text, and takes one credit", |run| {
                stream(run).boxed_local()
            })
            .after(&["ask-credit"]),
            Check::new("ask-failure", "a request that fails gives its credit back", |run| {
                failure(run).boxed_local()
            })
            .after(&["ask-credit"]),
            Check::new("ask-session", "a session pays for a request before an install does", |run| {
                session(run).boxed_local()
            })
            .after(&["credits-read", "session-request"]),
        ],
    }
}

fn included(run: &Run) -> Checked<IncludedRequest> {
    learned(run.known.included.as_ref(), "a request that a plan includes")
}

async fn no_payer(run: &mut Run) -> Checked {
    run.needs_path(ASK).await?;
    let answer = run.api.post(ASK).json(&order()).send().await?.problem(402, "payment_required")?;
    answer.is("/reason", "no_payment")?;
    answer.is("/balanceSats", 0)?;
    says_how_to_pay(&answer)
}

/// That a 402 says what the request costs at most, and what deposit of a session pays for it.
fn says_how_to_pay(answer: &Answer) -> Checked {
    let required = answer.number("/requiredSats")?;
    answer.holds(required > 0, "`requiredSats` above 0", required)?;
    answer.is("/topUp/method", "POST")?;
    answer.is("/topUp/path", "/api/sessions")?;
    let deposit = answer.number("/topUp/amountSats")?;
    answer.holds(required <= deposit, format!("`topUp.amountSats` of at least {required}"), deposit)?;
    answer.is_private()
}

async fn invalid(run: &mut Run) -> Checked {
    run.needs_path(ASK).await?;
    let install = new_install();
    let before = credits(run, install).await?;
    for (body, field) in [
        (json!({}), "request"),
        (json!({ "request": 5 }), "request"),
        (json!({ "request": "" }), "request"),
        (json!({ "request": REQUEST, "model": "no-such-model" }), "model"),
        (json!({ "request": REQUEST, "maxOutputTokens": 0 }), "maxOutputTokens"),
    ] {
        of_install(run.api.post(ASK), install).json(&body).send().await?.names_field(field)?;
    }
    let ask = || of_install(run.api.post(ASK), install).json(&order());
    ask().bearer("garbage").send().await?.problem(401, "invalid_macaroon")?;
    ask().token("garbage").send().await?.problem(401, "invalid_identity")?;
    has_left(run, install, before).await
}

/// Why the plan core of this server does not include a request, although nothing is wrong.
fn not_included(answer: &Answer, left: Credits) -> Checked<Option<String>> {
    let is_used_up = match answer.code() {
        Some("too_many_installs") => {
            let reason = "the server takes no more new installs from this address now";
            return Ok(Some(format!("{reason}: {}", answer.summary())));
        }
        Some("out_of_credits") => left.remaining == Some(0),
        Some("cloud_cap_exceeded_no_hardware") => left.cloud == Some(0),
        _ => return Ok(None),
    };
    if !is_used_up || answer.status != 402 {
        return Ok(None);
    }
    answer.is("/reason", "cap")?;
    says_how_to_pay(answer)?;
    Ok(Some(format!("the plan core of this server includes no more: {}", answer.summary())))
}

/// That a request was included in the plan core and took one credit of `before`; returns what must be left.
fn took_one(reply: &Answer, before: Credits) -> Checked<Credits> {
    reply.is("/state", "complete")?;
    reply.text_at("/requestId")?;
    reply.text_at("/result")?;
    reply.text_at("/model")?;
    for field in ["/usage/inputTokens", "/usage/outputTokens", "/costMsats"] {
        reply.number(field)?;
    }
    for (field, value) in [("/debitedSats", 0), ("/debitedMsats", 0), ("/absorbed_sats", 0)] {
        reply.is(field, value)?;
    }
    reply.is("/free_tier", false)?;
    reply.is("/trust_tier", "anonymous")?;
    reply.is_one_of("/backend", &["cloud", "hardware"])?;
    let backend = reply.text_at("/backend")?;
    let left = before.after_one_on(backend).ok_or_else(|| {
        reply.fault("a 402, because the plan does not include the request", format!("an answer by {backend}"))
    })?;
    reply.is("/credits/plan", "core")?;
    for (field, left) in [("/credits/remaining", left.remaining), ("/credits/cloudRemaining", left.cloud)] {
        let found = reply.number_or_null(field)?;
        let name = field.trim_start_matches('/').replace('/', ".");
        reply.holds(found == left, format!("`{name}` to be {}", shown(left)), shown(found))?;
    }
    Ok(left)
}

async fn credit(run: &mut Run) -> Checked {
    run.needs_path(ASK).await?;
    let install = new_install();
    let before = credits(run, install).await?;
    let (mut key, mut body) = (random_text(), order());
    let mut reply = of_install(run.api.post(ASK), install).idempotency_key(&key).json(&body).send().await?;
    if reply.status == 400 && reply.detail().contains("maxOutputTokens") {
        // The plans of this server include shorter answers only.
        (key, body) = (random_text(), json!({ "request": REQUEST }));
        reply = of_install(run.api.post(ASK), install).idempotency_key(&key).json(&body).send().await?;
    }
    if let Some(reason) = not_included(&reply, before)? {
        return Err(Stop::Skip(reason));
    }
    let reply = reply.status(200)?;
    reply.is_private()?;
    let left = took_one(&reply, before)?;
    let backend = reply.text_at("/backend")?;
    let named = reply.required_header("X-Tithe-Backend")?;
    reply.holds(named == backend, format!("X-Tithe-Backend: {backend}"), named)?;
    if let Some(cost) = reply.header("X-Tithe-Cost-Msats") {
        let msats = reply.number("/costMsats")?;
        reply.holds(cost == msats.to_string(), format!("X-Tithe-Cost-Msats: {msats}"), cost)?;
    }
    has_left(run, install, left).await?;
    run.known.included = Some(IncludedRequest { install, key, body, reply, left });
    Ok(())
}

async fn replay(run: &mut Run) -> Checked {
    let IncludedRequest { install, key, body, reply, left } = included(run)?;
    let ask = || run.api.post(ASK).idempotency_key(&key).json(&body);
    let again = of_install(ask(), install).send().await?.status(200)?;
    let replayed = again.required_header("Idempotency-Replayed")?;
    again.holds(replayed == "true", "Idempotency-Replayed: true", replayed)?;
    again.holds(again.body == reply.body, "the first answer again", again.summary())?;
    // Whoever knows the key alone gets nothing.
    ask().send().await?.problem(402, "payment_required")?;
    has_left(run, install, left).await
}

async fn other_body(run: &mut Run) -> Checked {
    let IncludedRequest { install, key, left, .. } = included(run)?;
    let other = json!({ "request": "What is the capital of France?", "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let answer = of_install(run.api.post(ASK), install).idempotency_key(&key).json(&other).send().await?;
    let answer = answer.problem(409, "idempotency_key_reused")?;
    let retry = answer.required_header("x-should-retry")?;
    answer.holds(retry == "false", "x-should-retry: false", retry)?;
    has_left(run, install, left).await
}

async fn stream(run: &mut Run) -> Checked {
    let IncludedRequest { install, body, left, .. } = included(run)?;
    let mut events = match of_install(run.api.post(ASK), install).json(&body).events().await? {
        Ok(events) => events,
        Err(answer) => {
            return Err(match not_included(&answer, left)? {
                Some(reason) => Stop::Skip(reason),
                None => answer.fault("a stream of events", answer.summary()),
            });
        }
    };
    let mut text = String::new();
    while let Some(event) = events.next().await {
        let body = Answer::new(format!("POST {ASK}"), 200, HeaderMap::new(), event.data);
        match event.name.as_str() {
            "delta" => text.push_str(body.text_at("/text")?),
            "done" => {
                let is_same = text.is_empty() || body.text_at("/result")? == text;
                body.holds(is_same, "`result` to be the text that was streamed", "another text")?;
                let left = took_one(&body, left)?;
                has_left(run, install, left).await?;
                run.known.included = Some(IncludedRequest { left, ..included(run)? });
                return Ok(());
            }
            "error" => return Err(body.fault("`event: done`", body.summary())),
            _ => {}
        }
    }
    Err(Stop::fault(format!("POST {ASK}"), "`event: done`", "the end of the stream"))
}

async fn failure(run: &mut Run) -> Checked {
    let IncludedRequest { install, left, .. } = included(run)?;
    run.needs_simulated_backend().await?;
    if left.cloud == Some(0) {
        return Err(Stop::skip("the plan core of this server has nothing left in the cloud"));
    }
    for (directive, status, code) in
        [("[sim:fail]", 502, "work_failed"), ("[sim:refuse]", 422, "request_refused")]
    {
        let body = json!({ "request": directive });
        let answer = of_install(run.api.post(ASK), install).json(&body).send().await?;
        if let Some(reason) = not_included(&answer, left)? {
            return Err(Stop::Skip(reason));
        }
        answer.problem(status, code)?;
        has_left(run, install, left).await?;
    }
    Ok(())
}

async fn session(run: &mut Run) -> Checked {
    run.needs_path(ASK).await?;
    let session = learned(run.known.session.as_ref(), "a session")?;
    let install = new_install();
    let before = credits(run, install).await?;
    let ask = of_install(run.api.post(ASK), install).bearer(&session.macaroon).json(&order());
    let reply = ask.send().await?.status(200)?;
    reply.is_private()?;
    let debited = reply.number("/debitedMsats")?;
    reply.holds(debited > 0, "`debitedMsats` above 0", debited)?;
    charged(run, &reply).await?;
    has_left(run, install, before).await
}
