//! The AI API: answers, and what they cost.

use super::ai_account::{GENERATION, session_of};
use super::prices::{OUTPUT_TOKENS_MAX, REQUEST};
use super::spending::agrees;
use crate::selftest::ai::{Reply, TOOL, Wire, with};
use crate::selftest::answer::Answer;
use crate::selftest::api::random_text;
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::known::{AiAsked, AiCustomer, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};

/// The header with the number of the try that the SDKs of both vendors are at.
const RETRY_COUNT: &str = "x-stainless-retry-count";

/// The question that a function answers, and its result.
const WEATHER: &str = "What is the weather in Rome? Use the function.";
const RESULT: &str = "sunny, 24 degrees";

pub(super) fn area() -> Area {
    Area {
        name: "ai-answers",
        section: "AI API",
        checks: vec![
            Check::new("ai-chat", "a chat completion costs what its usage, headers and record say", |run| {
                whole(run, Wire::Chat).boxed_local()
            })
            .after(&["ai-credits"]),
            Check::new(
                "ai-chat-stream",
                "a streamed chat completion is chunks and [DONE], with the usage only if it is asked for",
                |run| chat_stream(run).boxed_local(),
            )
            .after(&["ai-credits"]),
            Check::new("ai-responses", "a response costs what its usage, headers and record say", |run| {
                whole(run, Wire::Responses).boxed_local()
            })
            .after(&["ai-credits"]),
            Check::new(
                "ai-responses-stream",
                "a streamed response has the events that Codex needs, in their order",
                |run| stream(run, Wire::Responses).boxed_local(),
            )
            .after(&["ai-credits"]),
            Check::new("ai-messages", "a message costs what its usage, headers and record say", |run| {
                whole(run, Wire::Messages).boxed_local()
            })
            .after(&["ai-credits"]),
            Check::new(
                "ai-messages-stream",
                "a streamed message has the events that Anthropic's SDK reads, and no other",
                |run| stream(run, Wire::Messages).boxed_local(),
            )
            .after(&["ai-credits"]),
            Check::new("ai-count-tokens", "the tokens of a prompt are counted free of charge", |run| {
                count_tokens(run).boxed_local()
            })
            .after(&["ai-credits"]),
            Check::new("ai-tools", "a function is called, and its result is read", |run| {
                tools(run).boxed_local()
            })
            .after(&["ai-chat"]),
            Check::new(
                "ai-idempotency-key",
                "a repeated request with its Idempotency-Key gets the same answer, and is charged once",
                |run| keyed(run).boxed_local(),
            )
            .after(&["ai-chat", "ai-responses", "ai-messages"]),
            Check::new(
                "ai-sdk-retry",
                "the repetition of an SDK, which has no key, gets the same answer, and is charged once",
                |run| retried(run).boxed_local(),
            )
            .after(&["ai-chat-stream", "ai-responses-stream", "ai-messages-stream"]),
            Check::new(
                "ai-money",
                "the balance has fallen by the sum of what the answers said they cost",
                |run| money(run).boxed_local(),
            )
            .after(&["ai-chat", "ai-chat-stream"]),
        ],
    }
}

fn customer(run: &Run) -> Checked<AiCustomer> {
    learned(run.known.ai.as_ref(), "a model")
}

fn question(run: &Run, wire: Wire) -> Checked<Value> {
    Ok(wire.body(&customer(run)?.model, REQUEST, OUTPUT_TOKENS_MAX))
}

/// What an answer cost is taken from the balance once: its usage, its headers, its record and the session agree.
async fn charged(run: &mut Run, answer: &Answer, reply: &Reply) -> Checked<String> {
    let (mut session, mut ai) = (session_of(run)?, customer(run)?);
    answer.is_private()?;
    let is_asked = reply.model == ai.model;
    answer.holds(is_asked, format!("`model` to be {}", ai.model), excerpt::short(&reply.model))?;
    let id = answer.required_header("X-Generation-Id")?.to_owned();
    let record =
        run.api.get(GENERATION).query("id", &id).bearer(&session.macaroon).send().await?.status(200)?;
    record.is("/data/id", id.clone())?;
    record.is("/data/state", "complete")?;
    let cost = record.number("/data/charged_msats")?;
    record.holds(cost > 0, "`data.charged_msats` above 0", cost)?;
    record.is("/data/cost_msats", cost)?;
    record.is("/data/absorbed_msats", 0)?;
    if let Some(usage) = reply.usage {
        for (field, expected, got) in
            [("usage.cost_msats", cost, usage.cost_msats), ("usage.absorbed_msats", 0, usage.absorbed_msats)]
        {
            answer.holds(got == expected, format!("`{field}` to be {expected}, as the record says"), got)?;
        }
        record.is("/data/tokens_prompt", usage.input)?;
        record.is("/data/tokens_completion", usage.output)?;
    }
    session.spent_msats = session.spent_msats.saturating_add(cost);
    session.requests.push(id.clone());
    for (header, msats) in [("x-tithe-cost-msats", cost), ("x-tithe-balance-msats", session.balance_msats())]
    {
        if let Some(value) = answer.header(header) {
            answer.holds(value == msats.to_string(), format!("{header}: {msats}"), value)?;
        }
    }
    agrees(run, &session).await?;
    ai.said_msats = ai.said_msats.saturating_add(reply.usage.map_or(cost, |usage| usage.cost_msats));
    (run.known.session, run.known.ai) = (Some(session), Some(ai));
    Ok(id)
}

/// That an answer has something in it, unless it was cut off before: a model may think first.
fn says_something(answer: &Answer, reply: &Reply) -> Checked {
    let says = !reply.text.is_empty() || !reply.calls.is_empty() || reply.finish != "stop";
    answer.holds(says, "a text", "none")
}

async fn whole(run: &mut Run, wire: Wire) -> Checked {
    run.needs_path(wire.path()).await?;
    let (session, body, key) = (session_of(run)?, question(run, wire)?, random_text());
    let call = wire.request_with(&run.api, &session.macaroon, &body).idempotency_key(&key);
    let answer = call.send().await?.status(200)?;
    let reply = wire.read(&answer, false)?;
    says_something(&answer, &reply)?;
    for header in ["x-tithe-cost-msats", "x-tithe-balance-msats"] {
        answer.required_header(header)?;
    }
    let id = charged(run, &answer, &reply).await?;
    let mut ai = customer(run)?;
    ai.asked.push(AiAsked { wire, body, key: Some(key), id, reply });
    run.known.ai = Some(ai);
    Ok(())
}

async fn stream(run: &mut Run, wire: Wire) -> Checked {
    run.needs_path(wire.path()).await?;
    let body = with(question(run, wire)?, "stream", true.into());
    streamed(run, wire, body).await.map(drop)
}

/// Sends a request for a stream as an SDK does.
async fn streamed(run: &mut Run, wire: Wire, body: Value) -> Checked<(Answer, Reply)> {
    let session = session_of(run)?;
    let call = wire.request_with(&run.api, &session.macaroon, &body).header(RETRY_COUNT, "0");
    let answer = call.send().await?.status(200)?;
    let reply = wire.read(&answer, true)?;
    says_something(&answer, &reply)?;
    let id = charged(run, &answer, &reply).await?;
    let mut ai = customer(run)?;
    ai.asked.push(AiAsked { wire, body, key: None, id, reply: reply.clone() });
    run.known.ai = Some(ai);
    Ok((answer, reply))
}

async fn chat_stream(run: &mut Run) -> Checked {
    run.needs_path(Wire::Chat.path()).await?;
    let body = with(question(run, Wire::Chat)?, "stream", true.into());
    let (answer, reply) = streamed(run, Wire::Chat, body.clone()).await?;
    answer.holds(reply.usage.is_none(), "no usage: it was not asked for", "a chunk with `usage`")?;
    let body = with(body, "stream_options", json!({ "include_usage": true }));
    let (answer, reply) = streamed(run, Wire::Chat, body).await?;
    answer.holds(reply.usage.is_some(), "a chunk with `usage` before `[DONE]`", "none")
}

async fn count_tokens(run: &mut Run) -> Checked {
    let path = "/v1/messages/count_tokens";
    run.needs_path(path).await?;
    let (session, ai) = (session_of(run)?, customer(run)?);
    let mut counts = Vec::new();
    for text in [REQUEST, &REQUEST.repeat(3)] {
        let body = json!({ "model": ai.model, "messages": [{ "role": "user", "content": text }] });
        let answer = run.api.post(path).json(&body).send().await?.status(200)?;
        counts.push(answer.number("/input_tokens")?);
        let grows = counts.is_sorted_by(|a, b| a < b) && counts.first() > Some(&0);
        answer.holds(grows, "`input_tokens` above 0, and more for a longer text", format!("{counts:?}"))?;
    }
    let answer = run.api.post(path).json(&json!({ "model": ai.model })).send().await?;
    Wire::Messages.refused(answer, 400)?;
    agrees(run, &session).await
}

/// A round trip costs two requests: it is made in one API if the model is a real one.
async fn tools(run: &mut Run) -> Checked {
    let is_play = run.needs_simulated_backend().await.is_ok();
    let (session, ai) = (session_of(run)?, customer(run)?);
    for wire in Wire::ALL.into_iter().take(if is_play { 3 } else { 1 }) {
        let body = wire.body_with_tool(&ai.model, WEATHER, OUTPUT_TOKENS_MAX);
        let answer = wire.request_with(&run.api, &session.macaroon, &body).send().await?;
        if !is_play && matches!(answer.status, 400 | 422 | 502) {
            return Err(Stop::skip(format!("the model takes no functions: {}", answer.summary())));
        }
        let answer = answer.status(200)?;
        let reply = wire.read(&answer, false)?;
        charged(run, &answer, &reply).await?;
        let Some(call) = reply.calls.first() else {
            if is_play || reply.finish == "tool_calls" {
                return Err(answer.fault("the call of the function that was asked for", "none"));
            }
            return Err(Stop::skip("the model has not called the function"));
        };
        answer.holds(call.name == TOOL, format!("a call of `{TOOL}`"), excerpt::short(&call.name))?;
        let arguments = serde_json::from_str::<Value>(&call.arguments);
        let is_object = arguments.is_ok_and(|arguments| arguments.is_object());
        answer.holds(
            is_object || reply.finish == "length",
            "arguments in JSON",
            excerpt::short(&call.arguments),
        )?;
        let body = wire.with_result(body, call, RESULT);
        let answer = wire.request_with(&run.api, &session.macaroon, &body).send().await?.status(200)?;
        let reply = wire.read(&answer, false)?;
        charged(run, &answer, &reply).await?;
        let is_read = !is_play || reply.text.contains(RESULT);
        answer.holds(is_read, "an answer with the result of the function", excerpt::short(&reply.text))?;
    }
    Ok(())
}

/// That an answer is one that was given and charged before.
async fn is_repeated(run: &mut Run, answer: Answer, asked: &AiAsked) -> Checked {
    let answer = answer.status(200)?;
    let replayed = answer.required_header("Idempotency-Replayed")?;
    answer.holds(replayed == "true", "Idempotency-Replayed: true", replayed)?;
    let id = answer.required_header("X-Generation-Id")?;
    answer.holds(id == asked.id, format!("X-Generation-Id: {}", asked.id), excerpt::short(id))?;
    let reply = asked.wire.read(&answer, asked.key.is_none())?;
    answer.holds(reply == asked.reply, "the first answer again", excerpt::short(&reply.text))?;
    agrees(run, &session_of(run)?).await
}

async fn keyed(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    for asked in customer(run)?.asked {
        let AiAsked { wire, body, key: Some(key), .. } = &asked else { continue };
        let call = wire.request_with(&run.api, &session.macaroon, body).idempotency_key(key);
        let answer = call.send().await?;
        is_repeated(run, answer, &asked).await?;
        let other = wire.body(&customer(run)?.model, "Another question?", OUTPUT_TOKENS_MAX);
        let call = wire.request_with(&run.api, &session.macaroon, &other).idempotency_key(key);
        let answer = wire.refused(call.send().await?, 409)?;
        answer.is("/error/metadata/code", "idempotency_key_reused")?;
        let retry = answer.required_header("x-should-retry")?;
        answer.holds(retry == "false", "x-should-retry: false", retry)?;
    }
    agrees(run, &session).await
}

async fn retried(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    for asked in customer(run)?.asked {
        let AiAsked { wire, body, key: None, .. } = &asked else { continue };
        let call = wire.request_with(&run.api, &session.macaroon, body).header(RETRY_COUNT, "1");
        let answer = call.send().await?;
        is_repeated(run, answer, &asked).await?;
    }
    Ok(())
}

async fn money(run: &mut Run) -> Checked {
    let (session, ai) = (session_of(run)?, customer(run)?);
    let left = ai.before_msats.saturating_sub(ai.said_msats);
    let answer = run.api.get("/v1/credits").bearer(&session.macaroon).send().await?.status(200)?;
    answer.is("/data/balance_msats", left)?;
    answer.is("/data/held_msats", 0)?;
    answer.is("/data/total_usage_msats", session.spent_msats)
}
