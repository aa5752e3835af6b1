//! Idempotency keys.

use super::identity::{fresh_key, logged_in};
use super::prices::{OUTPUT_TOKENS_MAX, order};
use crate::selftest::api::random_text;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Keyed, learned};
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::json;

pub(super) fn area() -> Area {
    Area {
        name: "idempotency",
        section: "Errors",
        checks: vec![
            Check::new(
                "idempotency-replay",
                "the same request with the same key gets the first answer again, marked as replayed",
                |run| replay(run).boxed_local(),
            ),
            Check::new(
                "idempotency-other-body",
                "the same key with another body is a 409 that SDKs do not retry",
                |run| other_body(run).boxed_local(),
            )
            .after(&["idempotency-replay"]),
            Check::new(
                "idempotency-weak-key",
                "without a credential, a key that can be guessed is a 400",
                |run| weak_key(run).boxed_local(),
            ),
            Check::new(
                "idempotency-scope",
                "a key of one caller does not show its answer to another",
                |run| scope(run).boxed_local(),
            )
            .after(&["idempotency-replay", "identity-login"]),
        ],
    }
}

async fn replay(run: &mut Run) -> Checked {
    let key = random_text();
    let send = || run.api.post("/api/jobs").idempotency_key(&key).json(&order()).send();
    let first = send().await?.status(201)?;
    let is_new = first.header("idempotency-replayed").is_none();
    first.holds(is_new, "no header Idempotency-Replayed at first", "one")?;
    let again = send().await?.status(201)?;
    let job_id = first.owned("/jobId")?;
    again.is("/jobId", job_id.clone())?;
    again.holds(again.body == first.body, "the first answer again", again.summary())?;
    let replayed = again.required_header("idempotency-replayed")?;
    again.holds(replayed == "true", "Idempotency-Replayed: true", replayed)?;
    run.known.keyed = Some(Keyed { key, job_id });
    Ok(())
}

async fn other_body(run: &mut Run) -> Checked {
    let Keyed { key, .. } = learned(run.known.keyed.as_ref(), "a key")?;
    let other = json!({ "request": "What is the capital of France?", "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let answer = run.api.post("/api/jobs").idempotency_key(&key).json(&other).send().await?;
    let answer = answer.problem(409, "idempotency_key_reused")?;
    let retry = answer.required_header("x-should-retry")?;
    answer.holds(retry == "false", "x-should-retry: false", retry)
}

async fn weak_key(run: &mut Run) -> Checked {
    let answer = run.api.post("/api/jobs").idempotency_key("guess-me").json(&order()).send().await?;
    answer.problem(400, "weak_idempotency_key").map(drop)
}

async fn scope(run: &mut Run) -> Checked {
    let Keyed { key, job_id } = learned(run.known.keyed.as_ref(), "a key")?;
    let identity = logged_in(&run.api, fresh_key()).await?;
    let call = run.api.post("/api/jobs").idempotency_key(&key).token(&identity.token).json(&order());
    let answer = call.send().await?.status(201)?;
    let is_other = answer.text_at("/jobId")? != job_id;
    answer.holds(is_other, "a job of its own", "the job of the anonymous caller")
}
