//! Requests that are charged to a session.

use super::prices::{OUTPUT_TOKENS_MAX, REQUEST, order};
use crate::selftest::answer::Answer;
use crate::selftest::api::random_text;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Session, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// How long the text of a dear request is, in words, if a shorter one costs too little.
const WORDS: [usize; 3] = [1, 2_000, 30_000];

pub(super) fn area() -> Area {
    Area {
        name: "spending",
        section: "Sessions",
        checks: vec![
            Check::new(
                "session-request",
                "a request is answered, and the balance falls by what it cost, to the msat",
                |run| request(run).boxed_local(),
            )
            .after(&["session-active"]),
            Check::new(
                "session-stream",
                "a streamed answer is the same text, and is charged like any other",
                |run| stream(run).boxed_local(),
            )
            .after(&["session-request"]),
            Check::new("session-request-replay", "a repeated request with its key is charged once", |run| {
                replay(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new(
                "session-rejected-request",
                "a request that is rejected is a 422, and only its evaluation is charged",
                |run| rejected(run).boxed_local(),
            )
            .after(&["session-request"]),
            Check::new(
                "session-bad-request",
                "a request with an invalid body is a 400, and nothing is charged",
                |run| bad_request(run).boxed_local(),
            )
            .after(&["session-request"]),
            Check::new(
                "session-insufficient-balance",
                "a request that may cost more than is left is a 402 that says how much is needed",
                |run| insufficient(run).boxed_local(),
            )
            .after(&["session-request"]),
            Check::new(
                "session-history",
                "the history lists the requests, newest first, with what each was charged",
                |run| history(run).boxed_local(),
            )
            .after(&["session-request"]),
        ],
    }
}

fn session_of(run: &Run) -> Checked<Session> {
    learned(run.known.session.as_ref(), "a session")
}

/// What a request costs is taken from the balance, here and in the session.
pub(super) async fn charged(run: &mut Run, reply: &Answer) -> Checked {
    let mut session = session_of(run)?;
    reply.is("/state", "complete")?;
    reply.text_at("/result")?;
    reply.number("/usage/inputTokens")?;
    reply.number("/usage/outputTokens")?;
    let debited = reply.number("/debitedMsats")?;
    reply.is("/debitedSats", debited.div_ceil(1_000))?;
    // The pool pays nothing for anonymous customers.
    reply.is("/absorbed_sats", 0)?;
    reply.is("/free_tier", false)?;
    reply.is("/costMsats", debited)?;
    reply.is("/trust_tier", "anonymous")?;
    session.spent_msats = session.spent_msats.saturating_add(debited);
    session.requests.push(reply.owned("/requestId")?);
    reply.is("/balanceMsats", session.balance_msats())?;
    reply.is("/balanceSats", session.balance_msats() / 1_000)?;
    for (header, msats) in
        [("x-tithe-balance-msats", session.balance_msats()), ("x-tithe-cost-msats", debited)]
    {
        if let Some(value) = reply.header(header) {
            reply.holds(value == msats.to_string(), format!("{header}: {msats}"), value)?;
        }
    }
    agrees(run, &session).await?;
    run.known.session = Some(session);
    Ok(())
}

/// That the server shows the balance that follows from everything that was paid and charged.
pub(super) async fn agrees(run: &Run, session: &Session) -> Checked {
    let answer = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
    answer.is("/spentMsats", session.spent_msats)?;
    answer.is("/balanceMsats", session.balance_msats())?;
    answer.is("/balanceSats", session.balance_msats() / 1_000)?;
    answer.is("/heldMsats", 0)
}

async fn request(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let call = run.api.post(session.path("/request")).bearer(&session.macaroon).json(&order());
    let reply = call.send().await?.status(200)?;
    reply.is_private()?;
    let debited = reply.number("/debitedMsats")?;
    reply.holds(debited > 0, "`debitedMsats` above 0", debited)?;
    charged(run, &reply).await
}

async fn stream(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let path = session.path("/request");
    let call = run.api.post(&path).bearer(&session.macaroon).json(&order());
    let mut events = match call.events().await? {
        Ok(events) => events,
        Err(answer) => return Err(answer.fault("a stream of events", answer.summary())),
    };
    let mut text = String::new();
    while let Some(event) = events.next().await {
        let body = Answer::new(format!("POST {path}"), 200, HeaderMap::new(), event.data);
        match event.name.as_str() {
            "delta" => text.push_str(body.text_at("/text")?),
            "done" => {
                let is_same = text.is_empty() || body.text_at("/result")? == text;
                body.holds(is_same, "`result` to be the text that was streamed", "another text")?;
                return charged(run, &body).await;
            }
            "error" => return Err(body.fault("`event: done`", body.summary())),
            _ => {}
        }
    }
    Err(Stop::fault(format!("POST {path}"), "`event: done`", "the end of the stream"))
}

async fn replay(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let key = random_text();
    let call = || run.api.post(session.path("/request")).bearer(&session.macaroon).idempotency_key(&key);
    let (first, again) = {
        let first = call().json(&order()).send().await?.status(200)?;
        (first, call().json(&order()).send().await?.status(200)?)
    };
    again.is("/requestId", first.owned("/requestId")?)?;
    let replayed = again.required_header("idempotency-replayed")?;
    again.holds(replayed == "true", "Idempotency-Replayed: true", replayed)?;
    let other = json!({ "request": "Another?", "maxOutputTokens": OUTPUT_TOKENS_MAX });
    call().json(&other).send().await?.problem(409, "idempotency_key_reused")?;
    charged(run, &first).await
}

async fn rejected(run: &mut Run) -> Checked {
    run.needs_simulated_backend().await?;
    let mut session = session_of(run)?;
    let body = json!({ "request": format!("[sim:reject] {REQUEST}"), "maxOutputTokens": OUTPUT_TOKENS_MAX });
    let answer = run.api.post(session.path("/request")).bearer(&session.macaroon).json(&body).send().await?;
    if answer.status == 200 {
        charged(run, &answer).await?;
        return Err(Stop::skip("this server does not evaluate requests of sessions"));
    }
    let answer = answer.status(422)?;
    answer.text_at("/reason")?;
    let after = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
    let spent = after.number("/spentMsats")?;
    let evaluation = spent.checked_sub(session.spent_msats);
    let work = OUTPUT_TOKENS_MAX;
    after.holds(evaluation.is_some(), format!("`spentMsats` of at least {}", session.spent_msats), spent)?;
    if let Some(debited) = answer.value("/debitedMsats").and_then(Value::as_u64) {
        after.is("/spentMsats", session.spent_msats.saturating_add(debited))?;
    }
    // The evaluation is cheaper than a whole request was.
    let whole = session.spent_msats;
    after.holds(
        evaluation < Some(whole),
        format!("less to be charged than for {work} tokens of work"),
        spent - session.spent_msats,
    )?;
    session.spent_msats = spent;
    let newest =
        run.api.get(session.path("/requests")).bearer(&session.macaroon).send().await?.status(200)?;
    newest.is("/requests/0/state", "rejected")?;
    session.requests.push(newest.owned("/requests/0/requestId")?);
    agrees(run, &session).await?;
    run.known.session = Some(session);
    Ok(())
}

async fn bad_request(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    for (body, field) in [
        (json!({}), "request"),
        (json!({ "request": 5 }), "request"),
        (json!({ "request": REQUEST, "maxOutputTokens": -1 }), "maxOutputTokens"),
        (json!({ "request": REQUEST, "model": "no-such-model" }), "model"),
    ] {
        let call = run.api.post(session.path("/request")).bearer(&session.macaroon).json(&body);
        call.send().await?.names_field(field)?;
    }
    agrees(run, &session).await
}

/// A request that may cost more than `balance`, in sats, for the model that is the default.
async fn dear_request(run: &Run, balance: u64) -> Checked<Value> {
    let models = run.api.get("/api/models").send().await?.status(200)?;
    let is_default = |model: &&Value| model.get("isDefault") == Some(&Value::Bool(true));
    let model = models.list("/models")?.iter().find(is_default).cloned().unwrap_or_default();
    let tokens = model.get("maxOutputTokens").and_then(Value::as_u64).unwrap_or(OUTPUT_TOKENS_MAX);
    for words in WORDS {
        let body = json!({ "request": "sky ".repeat(words), "maxOutputTokens": tokens });
        let answer = run.api.post("/api/estimate").json(&body).send().await?;
        if answer.status == 200 && answer.number("/range/maxSats")? > balance.saturating_add(1) {
            return Ok(body);
        }
    }
    Err(Stop::skip(format!("no request of this server can cost more than the balance, {balance} sats")))
}

async fn insufficient(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let balance = session.balance_msats() / 1_000;
    let body = dear_request(run, balance).await?;
    let call = run.api.post(session.path("/request")).bearer(&session.macaroon).json(&body);
    let answer = call.send().await?.problem(402, "insufficient_balance")?;
    answer.is("/reason", "balance")?;
    answer.is("/balanceSats", balance)?;
    let required = answer.number("/requiredSats")?;
    answer.holds(required > balance, format!("`requiredSats` above {balance}, the balance"), required)?;
    let says_how = answer.value("/topUp").is_some();
    answer.holds(says_how, "`topUp`, which says how to top up", answer.summary())?;
    agrees(run, &session).await
}

async fn history(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let mut wanted = session.requests.clone();
    let (mut sum, mut cursor) = (0_u64, None::<String>);
    while let Some(newest) = wanted.pop() {
        let call = run.api.get(session.path("/requests")).bearer(&session.macaroon).query("limit", "1");
        let call = match cursor.take() {
            Some(cursor) => call.query("cursor", cursor),
            None => call,
        };
        let answer = call.send().await?.status(200)?;
        answer.is("/requests/0/requestId", newest)?;
        answer.is_one_of("/requests/0/state", &["complete", "rejected"])?;
        answer.time("/requests/0/createdAt")?;
        answer.is_private()?;
        sum = sum.saturating_add(answer.number("/requests/0/debitedMsats")?);
        cursor = answer.value("/nextCursor").and_then(Value::as_str).map(str::to_owned);
        let is_end = cursor.is_none() == wanted.is_empty();
        answer.holds(is_end, "a `nextCursor` on every page but the last", answer.summary())?;
    }
    let path = session.path("/requests");
    if sum != session.spent_msats {
        let expected = format!("`debitedMsats` to add up to {}, which was charged", session.spent_msats);
        return Err(Stop::fault(format!("GET {path}"), expected, sum));
    }
    Ok(())
}
