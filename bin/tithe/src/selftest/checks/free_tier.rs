//! What the pool pays for an identity.

use super::prices::{OUTPUT_TOKENS_MAX, REQUEST, order};
use crate::selftest::bill::Bill;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::learned;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::Value;

pub(super) fn area() -> Area {
    Area {
        name: "free-tier",
        section: "Estimate",
        checks: vec![
            Check::new(
                "free-tier-estimate",
                "with an identity, an estimate shows its tier and what the pool would pay",
                |run| estimate(run).boxed_local(),
            )
            .after(&["identity-login"]),
            Check::new(
                "free-tier-new-identity",
                "a new identity without a budget is charged in full",
                |run| new_identity(run).boxed_local(),
            )
            .after(&["free-tier-estimate"]),
            Check::new("job-list", "an identity lists its own jobs, newest first, page by page", |run| {
                job_list(run).boxed_local()
            })
            .after(&["identity-login"]),
        ],
    }
}

async fn estimate(run: &mut Run) -> Checked {
    let identity = learned(run.known.identity.as_ref(), "an identity")?;
    let call = run.api.get("/api/estimate").query("request", REQUEST).token(&identity.token);
    let answer = call.query("maxOutputTokens", OUTPUT_TOKENS_MAX.to_string()).send().await?.status(200)?;
    answer.is("/identity/trust_tier", "new")?;
    answer.is("/identity/pubkey", identity.key.pubkey().to_string())?;
    answer.is_one_of("/identity/free_tier/serve", &["free", "partial", "gate"])?;
    let absorbed = answer.number("/identity/free_tier/absorbSats")?;
    let charged = answer.number("/identity/free_tier/chargeSats")?;
    let whole = answer.number("/estimatedSats")?;
    let expected = format!("`absorbSats` and `chargeSats` to add up to `estimatedSats`, {whole}");
    answer.holds(absorbed.saturating_add(charged) == whole, expected, format!("{absorbed} and {charged}"))?;
    let is_gated = answer.text_at("/identity/free_tier/serve")? == "gate";
    answer.holds(
        is_gated == (absorbed == 0),
        "`serve` to be `gate` if the pool pays nothing, and only then",
        absorbed,
    )?;
    if answer.number("/pool/dailyBudgets/new")? == 0 {
        answer.is("/identity/free_tier/serve", "gate")?;
    }
    Ok(())
}

async fn new_identity(run: &mut Run) -> Checked {
    let identity = learned(run.known.identity.as_ref(), "an identity")?;
    let pool = run.api.get("/api/pool").send().await?.status(200)?;
    if pool.number("/dailyBudgets/new")? > 0 {
        return Err(Stop::skip("this server has a budget for new identities"));
    }
    let created =
        run.api.post("/api/jobs").token(&identity.token).json(&order()).send().await?.status(201)?;
    created.is("/trust_tier", "new")?;
    run.pay("the evaluation of an identity's job", &Bill::read(&created, "/evalInvoice")?).await?;
    let path = format!("/api/jobs/{}", created.text_at("/jobId")?);
    let others = ["executing", "rejected", "complete", "failed", "expired"];
    let answer = run.until_state(&path, None, &["awaiting_work_payment"], &others).await?;
    answer.is("/trust_tier", "new")?;
    answer.is("/free_tier", false)?;
    answer.is("/absorbed_sats", 0)?;
    answer.is("/pricing/amountSats", answer.number("/pricing/fullAmountSats")?)
}

async fn job_list(run: &mut Run) -> Checked {
    let token = learned(run.known.identity.as_ref(), "an identity")?.token;
    let mut created = Vec::new();
    for _ in 0..2 {
        let answer = run.api.post("/api/jobs").token(&token).json(&order()).send().await?.status(201)?;
        created.push(answer.owned("/jobId")?);
    }
    let mut cursor: Option<String> = None;
    while let Some(wanted) = created.pop() {
        let call = run.api.get("/api/jobs").token(&token).query("limit", "1");
        let call = match cursor.take() {
            Some(cursor) => call.query("cursor", cursor),
            None => call,
        };
        let answer = call.send().await?.status(200)?;
        let jobs = answer.list("/jobs")?;
        answer.holds(jobs.len() == 1, "one job for `limit=1`", jobs.len())?;
        answer.is("/jobs/0/jobId", wanted)?;
        answer.is("/jobs/0/state", "awaiting_eval_payment")?;
        answer.is_private()?;
        cursor = answer.value("/nextCursor").and_then(Value::as_str).map(str::to_owned);
        answer.holds(cursor.is_some() || created.is_empty(), "a `nextCursor`", "none")?;
    }
    Ok(())
}
