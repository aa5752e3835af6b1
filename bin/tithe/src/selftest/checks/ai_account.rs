//! The AI API: its models, and what a key has.

use crate::selftest::ai::Wire;
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::known::{AiCustomer, Session, learned};
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::Value;
use std::collections::BTreeMap;
use tithe_paywall::{Caveat, Macaroon};

const MODELS: &str = "/v1/models";
const CREDITS: &str = "/v1/credits";
const KEY: &str = "/v1/key";
pub(super) const GENERATION: &str = "/v1/generation";

/// The id of a request that nobody has made.
const NO_REQUEST: &str = "00000000-0000-4000-8000-000000000000";

/// The name of a model that nobody offers.
pub(super) const NO_MODEL: &str = "a-model-that-nobody-offers";

pub(super) fn area() -> Area {
    Area {
        name: "ai-account",
        section: "AI API",
        checks: vec![
            Check::new(
                "ai-models",
                "the models are listed as OpenAI, OpenRouter and Anthropic do, with the prices of /api/models",
                |run| models(run).boxed_local(),
            ),
            Check::new("ai-model", "a model is read by its name, and an unknown one is a 404", |run| {
                model(run).boxed_local()
            })
            .after(&["ai-models"]),
            Check::new("ai-no-key", "what a key has is shown to nobody without it", |run| {
                no_key(run).boxed_local()
            }),
            Check::new("ai-credits", "the credits of a key are the balance of its session", |run| {
                credits(run).boxed_local()
            })
            .after(&["ai-models", "session-request"]),
            Check::new("ai-key", "a key says what may still be spent with it, and on which models", |run| {
                key(run).boxed_local()
            })
            .after(&["ai-credits"]),
        ],
    }
}

pub(super) fn session_of(run: &Run) -> Checked<Session> {
    learned(run.known.session.as_ref(), "a session")
}

/// The session's macaroon, narrowed by a caveat.
pub(super) fn narrowed(session: &Session, caveat: &str) -> Checked<String> {
    let wrong = |what: &str| session.created.fault("`macaroon` to be one that can be narrowed", what);
    let macaroon: Macaroon = session.macaroon.parse().map_err(|_| wrong("no macaroon"))?;
    let caveat: Caveat = caveat.parse().map_err(|_| wrong("no caveat"))?;
    let macaroon = macaroon.narrow(&caveat).map_err(|_| wrong("one that is too long"))?;
    Ok(macaroon.encode())
}

/// The name of the default model.
pub(super) async fn default_model(run: &Run) -> Checked<String> {
    let models = run.api.get("/api/models").send().await?.status(200)?;
    let is_default = |model: &&Value| model.get("isDefault") == Some(&Value::Bool(true));
    let model = models.list("/models")?.iter().find(is_default);
    let name = model.and_then(|model| model.get("name")?.as_str());
    name.map(str::to_owned).ok_or_else(|| models.fault("a model that is the default", "none"))
}

async fn models(run: &mut Run) -> Checked {
    run.needs_path(MODELS).await?;
    let answer = run.api.get(MODELS).send().await?.status(200)?;
    answer.is("/object", "list")?;
    answer.is("/has_more", false)?;
    let prices = run.api.get("/api/models").send().await?.status(200)?;
    let mut known = BTreeMap::new();
    for model in prices.list("/models")? {
        let price = |kind: &str| model.pointer(&format!("/pricing/{kind}/msats")).and_then(Value::as_u64);
        let name = model.get("name").and_then(Value::as_str).unwrap_or_default();
        known.insert(name.to_owned(), (price("input"), price("output")));
    }
    let mut found = BTreeMap::new();
    for n in 0..answer.list("/data")?.len() {
        let at = |field: &str| format!("/data/{n}/{field}");
        answer.is(&at("object"), "model")?;
        answer.is(&at("type"), "model")?;
        answer.number(&at("created"))?;
        for text in ["owned_by", "name", "display_name"] {
            answer.text_at(&at(text))?;
        }
        let context = answer.number(&at("context_length"))?;
        answer.holds(context > 0, "`context_length` above 0", context)?;
        for price in ["prompt", "completion", "request", "input_cache_read", "input_cache_write"] {
            // Clients compute with them, and show none at all if one is missing.
            let text = answer.text_at(&at(&format!("pricing/{price}")))?;
            answer.holds(text.parse::<f64>().is_ok_and(|price| price >= 0.0), "a price in dollars", text)?;
        }
        let price = |kind: &str| answer.number(&at(&format!("pricing_msats/{kind}")));
        found.insert(answer.owned(&at("id"))?, (Some(price("prompt")?), Some(price("completion")?)));
    }
    let same_names = found.keys().eq(known.keys());
    let shown = found.keys().cloned().collect::<Vec<_>>().join(", ");
    answer.holds(same_names, "the models of /api/models", excerpt::short(&shown))?;
    // The price of bitcoin may have changed in between.
    let near = |a: u64, b: u64| a.abs_diff(b) <= a / 10;
    let is_near = |(a, b): (Option<u64>, Option<u64>)| a.zip(b).is_some_and(|(a, b)| near(a, b));
    let all = found.iter().zip(known.values());
    let wrong = all.filter(|((_, (prompt, completion)), (input, output))| {
        !is_near((*prompt, *input)) || !is_near((*completion, *output))
    });
    let wrong: Vec<&str> = wrong.map(|((name, _), _)| name.as_str()).collect();
    answer.holds(wrong.is_empty(), "`pricing_msats` of /api/models", excerpt::short(&wrong.join(", ")))?;
    let model = default_model(run).await?;
    run.known.ai = Some(AiCustomer { model, ..AiCustomer::default() });
    Ok(())
}

async fn model(run: &mut Run) -> Checked {
    let AiCustomer { model, .. } = learned(run.known.ai.as_ref(), "a model")?;
    let answer = run.api.get(format!("{MODELS}/{model}")).send().await?.status(200)?;
    answer.is("/id", model)?;
    answer.is("/object", "model")?;
    answer.text_at("/pricing/prompt")?;
    let answer = run.api.get(format!("{MODELS}/{NO_MODEL}")).send().await?;
    let answer = Wire::Chat.refused(answer, 404)?;
    answer.is("/error/code", "model_not_found")
}

async fn no_key(run: &mut Run) -> Checked {
    run.needs_path(CREDITS).await?;
    for path in [CREDITS, KEY, GENERATION] {
        let read = || run.api.get(path).query("id", NO_REQUEST);
        for call in [read(), read().bearer("garbage"), read().header("x-api-key", "garbage")] {
            Wire::Chat.refused(call.send().await?, 401)?;
        }
    }
    Ok(())
}

async fn credits(run: &mut Run) -> Checked {
    let (session, ai) = (session_of(run)?, learned(run.known.ai.as_ref(), "a model")?);
    let answer = run.api.get(CREDITS).bearer(&session.macaroon).send().await?.status(200)?;
    answer.is("/data/total_credits_msats", session.paid_msats)?;
    answer.is("/data/total_usage_msats", session.spent_msats)?;
    answer.is("/data/balance_msats", session.balance_msats())?;
    answer.is("/data/held_msats", 0)?;
    answer.usd("/data/total_credits")?;
    answer.usd("/data/total_usage")?;
    // Anthropic's clients have the key in another header.
    let same = run.api.get(CREDITS).header("x-api-key", &session.macaroon).send().await?.status(200)?;
    same.is("/data/balance_msats", session.balance_msats())?;
    run.known.ai = Some(AiCustomer { before_msats: session.balance_msats(), ..ai });
    Ok(())
}

async fn key(run: &mut Run) -> Checked {
    let (session, ai) = (session_of(run)?, learned(run.known.ai.as_ref(), "a model")?);
    let own = run.api.get(KEY).bearer(&session.macaroon).send().await?.status(200)?;
    own.is("/data/usage_msats", session.spent_msats)?;
    own.is("/data/limit_remaining_msats", session.balance_msats())?;
    for unlimited in ["limit", "limit_msats", "models", "expires_at"] {
        own.is_absent(&format!("/data/{unlimited}"))?;
    }
    let limit = narrowed(&session, "max_spend_msats=1000")?;
    let limit = run.api.get(KEY).bearer(&limit).send().await?.status(200)?;
    limit.is("/data/limit_msats", 1_000)?;
    limit.is("/data/limit_remaining_msats", session.balance_msats().min(1_000))?;
    limit.is("/data/usage_msats", 0)?;
    let only = narrowed(&session, &format!("model={}", ai.model))?;
    let only = run.api.get(KEY).bearer(&only).send().await?.status(200)?;
    only.is("/data/models", vec![ai.model])?;
    let record = run.api.get(GENERATION).bearer(&session.macaroon);
    Wire::Chat.refused(record.query("id", NO_REQUEST).send().await?, 404)?;
    let record = run.api.get(GENERATION).bearer(&session.macaroon).send().await?;
    Wire::Chat.refused(record, 400).map(drop)
}
