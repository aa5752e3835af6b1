//! Jobs: evaluation, work, events and what they cost.

use super::prices::{self, OUTPUT_TOKENS_MAX, REQUEST, order};
use crate::client::Event;
use crate::selftest::answer::Answer;
use crate::selftest::api::Api;
use crate::selftest::bill::{Bill, amount_at};
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::known::{Job, PaidBill, Refundable, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use futures_util::future::ready;
use reqwest::header::HeaderMap;
use serde_json::json;

/// The states that a job cannot leave.
const ENDED: [&str; 4] = ["rejected", "complete", "failed", "expired"];

pub(super) fn area() -> Area {
    Area {
        name: "jobs",
        section: "Jobs",
        checks: vec![
            Check::new(
                "job-create",
                "a job is created, anonymous, with an invoice and a claim token",
                |run| create(run).boxed_local(),
            ),
            Check::new(
                "job-eval-invoice",
                "the evaluation's invoice is BOLT11 with the amount, hash and expiry beside it",
                |run| ready(eval_invoice(run)).boxed_local(),
            )
            .after(&["job-create"]),
            Check::new(
                "job-unpaid",
                "a job that nobody has paid for stays as it is, and its answers are not cached",
                |run| unpaid(run).boxed_local(),
            )
            .after(&["job-create"]),
            Check::new("job-unknown", "an unknown job is a 404, and an id that is none a 400", |run| {
                unknown(run).boxed_local()
            }),
            Check::new(
                "job-evaluation",
                "after the evaluation is paid, the request is evaluated, and the work has a price",
                |run| evaluation(run).boxed_local(),
            )
            .after(&["job-eval-invoice", "job-unpaid"]),
            Check::new("job-pricing", "the work's invoice and its pricing agree", |run| {
                pricing(run).boxed_local()
            })
            .after(&["job-evaluation"]),
            Check::new(
                "job-work",
                "after the work is paid, its text is streamed, and the job completes",
                |run| work(run).boxed_local(),
            )
            .after(&["job-pricing"]),
            Check::new(
                "job-result",
                "a complete job shows the streamed result, how it ended and what it used",
                |run| result(run).boxed_local(),
            )
            .after(&["job-work"]),
            Check::new(
                "job-money",
                "what was paid is what was charged and what is refunded, to the sat",
                |run| ready(money(run)).boxed_local(),
            )
            .after(&["job-result"]),
            Check::new(
                "job-events-replay",
                "the events of a job can be read again, and resumed after any of them",
                |run| events_replay(run).boxed_local(),
            )
            .after(&["job-work"]),
            Check::new(
                "job-rejected",
                "a request that is rejected shows the reason, and no work is charged",
                |run| rejected(run).boxed_local(),
            )
            .after(&["job-evaluation"]),
            Check::new("job-failed", "work that fails is refunded in full", |run| failed(run).boxed_local())
                .after(&["job-work"]),
            Check::new(
                "job-held",
                "a payment that is held is taken for work that is done, and pays for it to the sat",
                |run| held(run).boxed_local(),
            )
            .after(&["job-work"]),
        ],
    }
}

fn path_of(job: &Job) -> String {
    format!("/api/jobs/{}", job.id)
}

async fn created(api: &Api, body: &serde_json::Value) -> Checked<Job> {
    let created = api.post("/api/jobs").json(body).send().await?.status(201)?;
    let (id, claim_token) = (created.owned("/jobId")?, created.owned("/claimToken")?);
    Ok(Job { id, claim_token, created })
}

async fn create(run: &mut Run) -> Checked {
    let job = created(&run.api, &order()).await?;
    job.created.is("/state", "awaiting_eval_payment")?;
    job.created.is("/trust_tier", "anonymous")?;
    job.created.time("/createdAt")?;
    job.created.text_at("/evalInvoice/paymentRequest")?;
    job.created.is_private()?;
    run.known.job = Some(job);
    Ok(())
}

fn eval_invoice(run: &mut Run) -> Checked {
    let job = learned(run.known.job.as_ref(), "a job")?;
    let bill = Bill::read(&job.created, "/evalInvoice")?;
    let is_anonymous = !bill.description.contains(&job.id);
    job.created.holds(is_anonymous, "a BOLT11 description without ids", excerpt::short(&bill.description))
}

async fn unpaid(run: &mut Run) -> Checked {
    let job = learned(run.known.job.as_ref(), "a job")?;
    let answer = run.api.get(path_of(&job)).header("prefer", "wait=1").send().await?.status(200)?;
    answer.is("/jobId", job.id.clone())?;
    answer.is("/state", "awaiting_eval_payment")?;
    answer.is("/evalInvoice", job.created.value("/evalInvoice").cloned().unwrap_or_default())?;
    answer.is("/free_tier", false)?;
    answer.is("/absorbed_sats", 0)?;
    answer.time("/updatedAt")?;
    for field in ["/result", "/workInvoice", "/charged", "/claimToken"] {
        answer.is_absent(field)?;
    }
    answer.is_private()
}

async fn unknown(run: &mut Run) -> Checked {
    for path in ["", "/events"] {
        let none = format!("/api/jobs/00000000-0000-4000-8000-000000000000{path}");
        run.api.get(none).send().await?.problem(404, "not_found")?;
        run.api.get(format!("/api/jobs/no-uuid{path}")).send().await?.names_field("jobId")?;
    }
    Ok(())
}

async fn evaluation(run: &mut Run) -> Checked {
    let job = learned(run.known.job.as_ref(), "a job")?;
    let bill = Bill::read(&job.created, "/evalInvoice")?;
    let paid = run.pay("the evaluation", &bill).await?;
    run.known.eval = Some(PaidBill { bill, preimage: paid.preimage });
    let wanted = ["awaiting_work_payment"];
    let answer = run
        .until_state(
            &path_of(&job),
            None,
            &wanted,
            &["executing", "rejected", "complete", "failed", "expired"],
        )
        .await?;
    run.known.work = Some(Bill::read(&answer, "/workInvoice")?);
    answer.is_absent("/evalInvoice")
}

async fn pricing(run: &mut Run) -> Checked {
    let (job, bill) =
        (learned(run.known.job.as_ref(), "a job")?, learned(run.known.work.as_ref(), "an invoice")?);
    let answer = run.api.get(path_of(&job)).send().await?.status(200)?;
    answer.is("/workInvoice/paymentHash", bill.hash.to_string())?;
    answer.is("/pricing/amountSats", bill.amount.get())?;
    // The pool pays nothing for anonymous customers.
    answer.is("/pricing/fullAmountSats", bill.amount.get())?;
    answer.is("/absorbed_sats", 0)?;
    let margin = answer.decimal("/pricing/marginPct")?;
    answer.holds(margin >= 0.0, "`pricing.marginPct` not to be negative", margin)?;
    let (usd, btc) = (answer.usd("/pricing/estimatedCostUsd")?, answer.btc_price("/pricing/btcPriceUsd")?);
    prices::rounds_up(&answer, bill.amount.get(), usd, btc)?;
    run.known.btc = Some(btc);
    let is_anonymous = !bill.description.contains(&job.id);
    answer.holds(is_anonymous, "a BOLT11 description without ids", excerpt::short(&bill.description))
}

async fn work(run: &mut Run) -> Checked {
    let (job, bill) =
        (learned(run.known.job.as_ref(), "a job")?, learned(run.known.work.as_ref(), "an invoice")?);
    let path = format!("{}/events", path_of(&job));
    let mut events = match run.api.get(path.clone()).events().await? {
        Ok(events) => events,
        Err(answer) => return Err(answer.fault("a stream of events", answer.summary())),
    };
    run.pay("the work", &bill).await?;
    let (mut text, mut attempt) = (String::new(), 0);
    while let Some(event) = events.next().await {
        let body = body_of(&path, event.data);
        match event.name.as_str() {
            "delta" => {
                // A new attempt starts the text anew.
                let of = body.value("/attempt").and_then(serde_json::Value::as_u64).unwrap_or(attempt);
                if of != attempt {
                    (text, attempt) = (String::new(), of);
                }
                text.push_str(body.text_at("/text")?);
            }
            "state" => {
                let state = body.text_at("/state")?;
                if state == "complete" {
                    run.known.streamed = Some(text);
                    return Ok(());
                }
                let has_ended = ENDED.contains(&state);
                body.holds(!has_ended, "the job to complete", body.summary())?;
            }
            _ => {}
        }
    }
    Err(Stop::fault(format!("GET {path}"), "an event of the job's end", "the end of the stream"))
}

/// The data of an event, as if it were an answer.
fn body_of(path: &str, data: String) -> Answer {
    Answer::new(format!("GET {path}"), 200, HeaderMap::new(), data)
}

async fn result(run: &mut Run) -> Checked {
    let job = learned(run.known.job.as_ref(), "a job")?;
    let answer = run.api.get(path_of(&job)).send().await?.status(200)?;
    answer.is("/state", "complete")?;
    let (text, streamed) =
        (answer.text_at("/result")?, learned(run.known.streamed.as_ref(), "the job's text")?);
    // A job may complete before all of its text was streamed.
    answer.holds(
        text.starts_with(&streamed),
        "`result` to begin with the text that was streamed",
        "another text",
    )?;
    answer.is_one_of("/finishReason", &["stop", "length", "content_filter", "interrupted"])?;
    let (input, cached) = (answer.number("/usage/inputTokens")?, answer.number("/usage/cachedInputTokens")?);
    answer.holds(cached <= input, "`usage.cachedInputTokens` to be a part of `usage.inputTokens`", cached)?;
    let output = answer.number("/usage/outputTokens")?;
    answer.holds(
        output <= OUTPUT_TOKENS_MAX,
        format!("at most {OUTPUT_TOKENS_MAX} `usage.outputTokens`"),
        output,
    )?;
    answer.usd("/usage/costUsd")?;
    for field in ["/workInvoice", "/evalInvoice", "/errorMessage", "/reason"] {
        answer.is_absent(field)?;
    }
    answer.is_private()?;
    run.known.result = Some(answer);
    Ok(())
}

fn money(run: &mut Run) -> Checked {
    let answer = learned(run.known.result.as_ref(), "a result")?;
    let paid = learned(run.known.work.as_ref(), "an invoice")?.amount.get();
    let (charged, absorbed) =
        (answer.number("/charged/chargedSats")?, answer.number("/charged/absorbedSats")?);
    answer.holds(absorbed == 0, "nothing to be absorbed for an anonymous customer", absorbed)?;
    let refund = amount_at(&answer, "/refund/amountSats")?;
    let sum = charged.saturating_add(refund.get());
    let expected =
        format!("`charged.chargedSats` and `refund.amountSats` to add up to {paid}, which was paid");
    answer.holds(sum == paid, expected, format!("{charged} and {}", refund.get()))?;
    // The cost is rounded up, and the refund down: less than a sat is booked as rounding.
    let cost = answer.number("/usage/costSats")?;
    let btc = learned(run.known.btc.as_ref(), "a price of bitcoin")?;
    prices::rounds_up(&answer, cost, answer.usd("/usage/costUsd")?, btc)?;
    let expected = format!("`usage.costSats` to be `charged.chargedSats`, {charged}");
    answer.holds(cost == charged, expected, cost)?;
    let states: &[&str] = if refund.is_zero() { &["not_applicable"] } else { &["pending", "paying", "paid"] };
    answer.is_one_of("/refund/state", states)?;
    if !refund.is_zero() {
        let job = learned(run.known.job.as_ref(), "a job")?;
        let (path, claim_token) = (path_of(&job), job.claim_token);
        run.known.refundable = Some(Refundable { path, claim_token, amount: refund });
    }
    Ok(())
}

/// All events of an ended job that come after one.
async fn events_after(run: &Run, path: &str, last: Option<&str>) -> Checked<Vec<Event>> {
    let call = run.api.get(path);
    let call = match last {
        Some(id) => call.header("last-event-id", id),
        None => call,
    };
    let mut found = Vec::new();
    match call.events().await? {
        Ok(mut events) => {
            while let Some(event) = events.next().await {
                found.push(event);
            }
        }
        Err(answer) => answer.status(204).map(drop)?,
    }
    Ok(found)
}

async fn events_replay(run: &mut Run) -> Checked {
    let path = format!("{}/events", path_of(&learned(run.known.job.as_ref(), "a job")?));
    let request = format!("GET {path}");
    let all = events_after(run, &path, None).await?;
    let states: Vec<String> = all
        .iter()
        .filter(|event| event.name == "state")
        .map(|event| body_of(&path, event.data.clone()).owned("/state"))
        .collect::<Checked<_>>()?;
    let is_whole = states.first().is_some_and(|first| first == "awaiting_eval_payment")
        && states.last().is_some_and(|last| last == "complete");
    if !is_whole {
        let expected = "events from `awaiting_eval_payment` to `complete`";
        return Err(Stop::fault(request, expected, excerpt::short(&states.join(", "))));
    }
    for (n, event) in all.iter().enumerate() {
        let Some(id) = event.id.as_deref() else {
            return Err(Stop::fault(request, "every event to have an id", excerpt::short(&event.data)));
        };
        // Texts may be cut elsewhere when they are read again; states may not.
        let states_after = |events: &[Event]| events.iter().filter(|event| event.name == "state").count();
        let resumed = events_after(run, &path, Some(id)).await?;
        let expected = states_after(all.get(n + 1..).unwrap_or_default());
        if states_after(&resumed) != expected {
            let expected = format!("{expected} states after the event {}", excerpt::short(id));
            return Err(Stop::fault(request, expected, states_after(&resumed)));
        }
    }
    Ok(())
}

async fn rejected(run: &mut Run) -> Checked {
    run.needs_simulated_backend().await?;
    let body = json!({ "request": format!("[sim:reject] {REQUEST}"), "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let job = created(&run.api, &body).await?;
    run.pay("the evaluation of a request that is rejected", &Bill::read(&job.created, "/evalInvoice")?)
        .await?;
    let others = ["awaiting_work_payment", "executing", "complete", "failed", "expired"];
    let answer = run.until_state(&path_of(&job), None, &["rejected"], &others).await?;
    answer.text_at("/reason")?;
    answer.is("/refund", json!({ "state": "not_applicable", "amountSats": 0 }))?;
    answer.is_absent("/workInvoice")?;
    answer.is_absent("/result")
}

async fn failed(run: &mut Run) -> Checked {
    run.needs_simulated_backend().await?;
    let body = json!({ "request": format!("[sim:refuse] {REQUEST}"), "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let job = created(&run.api, &body).await?;
    run.pay("the evaluation of work that fails", &Bill::read(&job.created, "/evalInvoice")?).await?;
    let path = path_of(&job);
    let answer = run.until_state(&path, None, &["awaiting_work_payment"], &ENDED).await?;
    let bill = Bill::read(&answer, "/workInvoice")?;
    run.pay("work that fails", &bill).await?;
    let answer = run.until_state(&path, None, &["failed"], &["rejected", "complete", "expired"]).await?;
    answer.text_at("/errorMessage")?;
    answer.is_absent("/result")?;
    answer.is("/refund/amountSats", bill.amount.get())?;
    answer.is_one_of("/refund/state", &["pending", "paying", "paid"])?;
    run.known.refundable = Some(Refundable { path, claim_token: job.claim_token, amount: bill.amount });
    Ok(())
}

async fn held(run: &mut Run) -> Checked {
    let mut body = order();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("payment".to_owned(), json!("held"));
    }
    let job = created(&run.api, &body).await?;
    run.pay("the evaluation of work with a held payment", &Bill::read(&job.created, "/evalInvoice")?).await?;
    let path = path_of(&job);
    let answer = run.until_state(&path, None, &["awaiting_work_payment"], &ENDED).await?;
    if answer.is_absent("/payment").is_ok() {
        return Err(Stop::skip("the server has no hold invoices, or none left"));
    }
    answer.is("/payment", "held")?;
    let bill = Bill::read_held(&answer, "/workInvoice")?;
    // The payer has the preimage only when the work is done.
    run.pay("work that is done first", &bill).await?;
    let others = ["rejected", "failed", "expired"];
    let answer = run.until_state(&path, None, &["complete"], &others).await?;
    answer.is("/payment", "held")?;
    answer.text_at("/result")?;
    let (charged, refund) =
        (answer.number("/charged/chargedSats")?, amount_at(&answer, "/refund/amountSats")?);
    let (sum, paid) = (charged.saturating_add(refund.get()), bill.amount.get());
    let expected =
        format!("`charged.chargedSats` and `refund.amountSats` to add up to {paid}, which was paid");
    answer.holds(sum == paid, expected, sum)
}
