//! The AI API: what is refused, in the shape of the API that is spoken.

use super::ai_account::{NO_MODEL, default_model, narrowed, session_of};
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use super::spending::agrees;
use crate::selftest::ai::{Wire, with};
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};

pub(super) fn area() -> Area {
    Area {
        name: "ai-errors",
        section: "AI API",
        checks: vec![
            Check::new(
                "ai-no-payer",
                "a request that nobody pays for is a 402 that stops agents, and says how to pay",
                |run| no_payer(run).boxed_local(),
            ),
            Check::new("ai-wrong-key", "a key that is none is a 401 in each header and each API", |run| {
                wrong_key(run).boxed_local()
            }),
            Check::new(
                "ai-bad-request",
                "a body that cannot be read or priced is a 400 that names the field, and costs nothing",
                |run| bad_request(run).boxed_local(),
            )
            .after(&["session-request"]),
            Check::new("ai-unknown-model", "a model that nobody offers is a 404 that names it", |run| {
                unknown_model(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new("ai-other-model", "a key for another model is a 403, and costs nothing", |run| {
                other_model(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new("ai-key-limit", "a key whose limit is reached is a 402 that says so", |run| {
                key_limit(run).boxed_local()
            })
            .after(&["session-request"]),
        ],
    }
}

/// A request, and the same as a stream.
fn both(wire: Wire, model: &str) -> [Value; 2] {
    let body = wire.body(model, REQUEST, OUTPUT_TOKENS_MAX);
    [body.clone(), with(body, "stream", true.into())]
}

async fn no_payer(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let model = default_model(run).await?;
    for wire in Wire::ALL {
        for body in both(wire, &model) {
            // Clients that insist on a key are given this one.
            for call in [wire.request(&run.api, &body), wire.request_with(&run.api, "none", &body)] {
                let answer = wire.refused(call.send().await?, 402)?;
                answer.is("/error/metadata/code", "payment_required")?;
                answer.is("/error/metadata/reason", "no_payment")?;
                answer.is("/error/metadata/balanceSats", 0)?;
                let required = answer.number("/error/metadata/requiredSats")?;
                answer.holds(required > 0, "`requiredSats` above 0", required)?;
                answer.is("/error/metadata/topUp/method", "POST")?;
                answer.is("/error/metadata/topUp/path", "/api/sessions")?;
                let deposit = answer.number("/error/metadata/topUp/amountSats")?;
                answer.holds(
                    required <= deposit,
                    format!("`topUp.amountSats` of at least {required}"),
                    deposit,
                )?;
            }
        }
    }
    Ok(())
}

async fn wrong_key(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let model = default_model(run).await?;
    for wire in Wire::ALL {
        for body in both(wire, &model) {
            let call = || wire.request(&run.api, &body);
            for call in [call().bearer("garbage"), call().header("x-api-key", "garbage")] {
                wire.refused(call.send().await?, 401)?;
            }
        }
    }
    Ok(())
}

/// Bodies that are refused, with what is wrong.
fn wrong(wire: Wire, model: &str) -> Vec<(&'static str, Value)> {
    let right = wire.body(model, REQUEST, OUTPUT_TOKENS_MAX);
    let changed = |field: &str, value: Value| with(right.clone(), field, value);
    let remote = "https://example.com/a.png";
    let image = match wire {
        Wire::Chat => json!({ "type": "image_url", "image_url": { "url": remote } }),
        Wire::Responses => json!({ "type": "input_image", "image_url": remote }),
        Wire::Messages => json!({ "type": "image", "source": { "type": "url", "url": remote } }),
    };
    let mut wrong = vec![
        ("no model", json!({ wire.input(): [{ "role": "user", "content": REQUEST }], "max_tokens": 1 })),
        ("nothing asked", json!({ "model": model, "max_tokens": 1 })),
        ("`stream` is no flag", changed("stream", json!("yes"))),
        ("a remote image", changed(wire.input(), json!([{ "role": "user", "content": [image] }]))),
    ];
    match wire {
        Wire::Chat => wrong.push(("two answers", changed("n", json!(2)))),
        Wire::Responses => {
            wrong.push(("an earlier response", changed("previous_response_id", json!("resp_1"))));
        }
        Wire::Messages => wrong.push(("no `max_tokens`", changed("max_tokens", Value::Null))),
    }
    wrong
}

async fn bad_request(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let (session, model) = (session_of(run)?, default_model(run).await?);
    for wire in Wire::ALL {
        for (what, body) in wrong(wire, &model) {
            let answer = wire.request_with(&run.api, &session.macaroon, &body).send().await?;
            answer.holds(answer.status == 400, format!("status 400 for {what}"), answer.summary())?;
            let answer = wire.refused(answer, 400)?;
            if wire != Wire::Messages {
                answer.text_at("/error/param")?;
            }
        }
        for body in ["", "hello", "[]", "{\"model\":"] {
            let call = run.api.post(wire.path()).bearer(&session.macaroon).raw(body);
            wire.refused(call.send().await?, 400)?;
        }
    }
    agrees(run, &session).await
}

async fn unknown_model(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let session = session_of(run)?;
    for wire in Wire::ALL {
        for body in both(wire, NO_MODEL) {
            let answer = wire.request_with(&run.api, &session.macaroon, &body).send().await?;
            let answer = wire.refused(answer, 404)?;
            if wire != Wire::Messages {
                answer.is("/error/code", "model_not_found")?;
                answer.is("/error/param", "model")?;
            }
            let message = answer.text_at("/error/message")?;
            answer.holds(
                message.contains(NO_MODEL),
                "a message that names the model",
                excerpt::short(message),
            )?;
        }
    }
    agrees(run, &session).await
}

async fn other_model(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let (session, model) = (session_of(run)?, default_model(run).await?);
    let key = narrowed(&session, &format!("model={NO_MODEL}"))?;
    for wire in Wire::ALL {
        for body in both(wire, &model) {
            let answer = wire.request_with(&run.api, &key, &body).send().await?;
            let answer = wire.refused(answer, 403)?;
            answer.is("/error/metadata/code", "model_not_allowed")?;
        }
    }
    agrees(run, &session).await
}

async fn key_limit(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let (session, model) = (session_of(run)?, default_model(run).await?);
    let key = narrowed(&session, "max_spend_msats=1")?;
    for wire in Wire::ALL {
        for body in both(wire, &model) {
            let answer = wire.request_with(&run.api, &key, &body).send().await?;
            let answer = wire.refused(answer, 402)?;
            answer.is("/error/metadata/reason", "cap")?;
            answer.is("/error/metadata/code", "key_limit_reached")?;
        }
    }
    agrees(run, &session).await
}
