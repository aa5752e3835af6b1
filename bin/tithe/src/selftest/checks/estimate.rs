//! Estimates and models.

use super::prices::{self, OUTPUT_TOKENS_MAX, REQUEST};
use crate::selftest::answer::Answer;
use crate::selftest::check::{Area, Check};
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn area() -> Area {
    Area {
        name: "estimate",
        section: "Estimate",
        checks: vec![
            Check::new(
                "models",
                "GET /api/models lists what is offered, one of it the default, with prices",
                |run| models(run).boxed_local(),
            ),
            Check::new(
                "estimate-missing-request",
                "an estimate without a request is a 400 with the documented text",
                |run| missing_request(run).boxed_local(),
            ),
            Check::new(
                "estimate-amounts",
                "sats are msats rounded up, the expected price is within the range, and the dollars agree",
                |run| amounts(run).boxed_local(),
            ),
            Check::new(
                "estimate-anonymous",
                "without an identity an estimate is for `anonymous`, without a pool share",
                |run| anonymous(run).boxed_local(),
            )
            .after(&["estimate-amounts"]),
            Check::new(
                "estimate-post",
                "POST /api/estimate says the same as GET, and takes texts that no URL carries",
                |run| post(run).boxed_local(),
            )
            .after(&["estimate-amounts"]),
            Check::new("estimate-output-limit", "a lower output limit never costs more", |run| {
                output_limit(run).boxed_local()
            })
            .after(&["estimate-amounts"]),
            Check::new("estimate-pool", "an estimate shows the budgets that GET /api/pool shows", |run| {
                pool(run).boxed_local()
            })
            .after(&["estimate-amounts", "pool"]),
        ],
    }
}

async fn models(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/models").send().await?.status(200)?;
    let models = answer.list("/models")?;
    let names: BTreeSet<&str> =
        models.iter().filter_map(|model| model.get("name").and_then(Value::as_str)).collect();
    answer.holds(!names.is_empty(), "at least one model", answer.summary())?;
    answer.holds(names.len() == models.len(), "every model to have a `name` of its own", answer.summary())?;
    let defaults = models.iter().filter(|model| model.get("isDefault") == Some(&Value::Bool(true))).count();
    answer.holds(defaults == 1, "one model to be the default", defaults)?;
    for n in 0..models.len() {
        for price in ["input", "output"] {
            answer.number(&format!("/models/{n}/pricing/{price}/msats"))?;
            answer.usd(&format!("/models/{n}/pricing/{price}/usd"))?;
        }
    }
    Ok(())
}

async fn missing_request(run: &mut Run) -> Checked {
    let answer = run.api.get("/api/estimate").send().await?.status(400)?;
    answer.is("/error", "Query param 'request' is required")
}

async fn estimated(run: &Run, tokens: u64) -> Checked<Answer> {
    let call = run.api.get("/api/estimate").query("request", REQUEST);
    call.query("maxOutputTokens", tokens.to_string()).send().await?.status(200)
}

async fn amounts(run: &mut Run) -> Checked {
    let answer = estimated(run, OUTPUT_TOKENS_MAX).await?;
    let (sats, msats) = (answer.number("/estimatedSats")?, answer.number("/estimatedMsats")?);
    let expected = format!("`estimatedSats` to be `estimatedMsats` rounded up, {}", msats.div_ceil(1_000));
    answer.holds(sats == msats.div_ceil(1_000), expected, sats)?;
    let (least, most) = (answer.number("/range/minSats")?, answer.number("/range/maxSats")?);
    let expected = "`range.minSats` ≤ `estimatedSats` ≤ `range.maxSats`";
    answer.holds(least <= sats && sats <= most, expected, format!("{least}, {sats}, {most}"))?;
    prices::agree(&answer, msats, answer.usd("/estimatedCostUsd")?, answer.btc_price("/btcPriceUsd")?)?;
    answer.number("/tokenEstimate/inputTokens")?;
    let tokens = answer.number("/tokenEstimate/outputTokens")?;
    let expected = format!("at most {OUTPUT_TOKENS_MAX} `outputTokens`");
    answer.holds(tokens <= OUTPUT_TOKENS_MAX, expected, tokens)?;
    answer.text_at("/tokenEstimate/model").map(drop)
}

async fn anonymous(run: &mut Run) -> Checked {
    let answer = estimated(run, OUTPUT_TOKENS_MAX).await?;
    answer.is("/identity/trust_tier", "anonymous")?;
    answer.is_absent("/identity/pubkey")?;
    answer.is_absent("/identity/free_tier")
}

async fn post(run: &mut Run) -> Checked {
    let read = estimated(run, OUTPUT_TOKENS_MAX).await?;
    let body = json!({ "request": REQUEST, "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let posted = run.api.post("/api/estimate").json(&body).send().await?.status(200)?;
    // The price of bitcoin may have changed in between; the count of the tokens cannot.
    posted.is("/tokenEstimate", read.value("/tokenEstimate").cloned().unwrap_or_default())?;
    if posted.value("/btcPriceUsd") == read.value("/btcPriceUsd") {
        posted.is("/estimatedMsats", read.number("/estimatedMsats")?)?;
    }
    let long = json!({ "request": "word ".repeat(10_000), "maxOutputTokens": OUTPUT_TOKENS_MAX });
    run.api.post("/api/estimate").json(&long).send().await?.status(200).map(drop)
}

async fn output_limit(run: &mut Run) -> Checked {
    let (low, high) = (estimated(run, 1).await?, estimated(run, OUTPUT_TOKENS_MAX).await?);
    let (less, more) = (low.number("/range/maxSats")?, high.number("/range/maxSats")?);
    // Two prices of bitcoin are not compared.
    let holds = less <= more || low.value("/btcPriceUsd") != high.value("/btcPriceUsd");
    let expected =
        format!("`range.maxSats` with `maxOutputTokens=1` to be at most {more}, as with {OUTPUT_TOKENS_MAX}");
    low.holds(holds, expected, less)
}

async fn pool(run: &mut Run) -> Checked {
    let pool = run.api.get("/api/pool").send().await?.status(200)?;
    let answer = estimated(run, OUTPUT_TOKENS_MAX).await?;
    answer.number("/pool/balanceSats")?;
    answer.is("/pool/dailyBudgets", pool.value("/dailyBudgets").cloned().unwrap_or_default())
}
