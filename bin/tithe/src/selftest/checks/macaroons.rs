//! Macaroons that the customer narrows, without the server.

use super::prices::{OUTPUT_TOKENS_MAX, REQUEST, order};
use super::spending::charged;
use crate::selftest::answer::Answer;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Session, learned};
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};
use tithe_paywall::{Caveat, Macaroon};

/// More than a year after 1970 began, and long ago.
const LONG_AGO: &str = "expires=100000000";

pub(super) fn area() -> Area {
    Area {
        name: "macaroons",
        section: "Sessions",
        checks: vec![
            Check::new("macaroon-narrowed", "a narrowed macaroon works within its limits", |run| {
                narrowed(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new(
                "macaroon-request-limit",
                "a macaroon for one request does no second, and says that its limit is reached",
                |run| request_limit(run).boxed_local(),
            )
            .after(&["macaroon-narrowed"]),
            Check::new(
                "macaroon-spend-limit",
                "a macaroon spends no more than its limit, and the session is not charged",
                |run| spend_limit(run).boxed_local(),
            )
            .after(&["session-request"]),
            Check::new("macaroon-expired", "a macaroon that was narrowed to a past time is a 401", |run| {
                expired(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new("macaroon-other-model", "a macaroon for another model is a 403", |run| {
                other_model(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new("macaroon-not-widened", "limits cannot be taken off again", |run| {
                not_widened(run).boxed_local()
            })
            .after(&["session-request"]),
            Check::new(
                "macaroon-not-owner",
                "a narrowed macaroon neither closes the session nor lists its keys",
                |run| not_owner(run).boxed_local(),
            )
            .after(&["macaroon-narrowed"]),
            Check::new(
                "macaroon-keys",
                "the session lists the macaroons that were used, and revokes them",
                |run| keys(run).boxed_local(),
            )
            .after(&["macaroon-narrowed"]),
        ],
    }
}

fn session_of(run: &Run) -> Checked<Session> {
    learned(run.known.session.as_ref(), "a session")
}

/// The session's macaroon, narrowed by caveats.
fn narrow(session: &Session, caveats: &[&str]) -> Checked<Macaroon> {
    let wrong = |what: &str| session.created.fault("`macaroon` to be one that can be narrowed", what);
    let mut macaroon: Macaroon = session.macaroon.parse().map_err(|_| wrong("no macaroon"))?;
    for caveat in caveats {
        let caveat: Caveat = caveat.parse().map_err(|_| wrong("no caveat"))?;
        macaroon = macaroon.narrow(&caveat).map_err(|_| wrong("one that is too long"))?;
    }
    Ok(macaroon)
}

async fn asked_with(run: &Run, session: &Session, macaroon: &Macaroon) -> Checked<Answer> {
    run.api.post(session.path("/request")).bearer(&macaroon.encode()).json(&order()).send().await
}

async fn narrowed(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let limit = format!("max_spend_msats={}", session.balance_msats());
    let macaroon = narrow(&session, &["max_requests=1", &limit])?;
    let reply = asked_with(run, &session, &macaroon).await?.status(200)?;
    charged(run, &reply).await?;
    run.known.narrowed = Some(macaroon);
    Ok(())
}

async fn request_limit(run: &mut Run) -> Checked {
    let (session, macaroon) = (session_of(run)?, learned(run.known.narrowed.as_ref(), "a macaroon")?);
    let answer = asked_with(run, &session, &macaroon).await?.problem(402, "key_limit_reached")?;
    answer.is("/reason", "cap")
}

async fn spend_limit(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let macaroon = narrow(&session, &["max_spend_msats=1"])?;
    let answer = asked_with(run, &session, &macaroon).await?.problem(402, "key_limit_reached")?;
    answer.is("/reason", "cap")?;
    super::spending::agrees(run, &session).await
}

async fn expired(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let macaroon = narrow(&session, &[LONG_AGO])?;
    asked_with(run, &session, &macaroon).await?.problem(401, "invalid_macaroon")?;
    let read = run.api.get(session.path("")).bearer(&macaroon.encode()).send().await?;
    read.problem(401, "invalid_macaroon").map(drop)
}

async fn other_model(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let macaroon = narrow(&session, &["model=a-model-that-nobody-offers"])?;
    asked_with(run, &session, &macaroon).await?.problem(403, "model_not_allowed").map(drop)
}

async fn not_widened(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    // A later caveat with a higher limit takes nothing off.
    let macaroon = narrow(&session, &["max_spend_msats=1", "max_spend_msats=1000000000"])?;
    asked_with(run, &session, &macaroon).await?.problem(402, "key_limit_reached")?;
    let macaroon = narrow(&session, &[LONG_AGO, "expires=4102444800"])?;
    asked_with(run, &session, &macaroon).await?.problem(401, "invalid_macaroon").map(drop)
}

async fn not_owner(run: &mut Run) -> Checked {
    let (session, macaroon) = (session_of(run)?, learned(run.known.narrowed.as_ref(), "a macaroon")?);
    for (method, path) in [(Method::POST, "/close"), (Method::GET, "/keys"), (Method::GET, "/requests")] {
        let call = run.api.call(method, session.path(path)).bearer(&macaroon.encode());
        call.send().await?.problem(403, "owner_required")?;
    }
    super::spending::agrees(run, &session).await
}

async fn keys(run: &mut Run) -> Checked {
    let (session, macaroon) = (session_of(run)?, learned(run.known.narrowed.as_ref(), "a macaroon")?);
    let id = macaroon.key_id().to_string();
    let answer = run.api.get(session.path("/keys")).bearer(&session.macaroon).send().await?.status(200)?;
    let keys = answer.list("/keys")?;
    let Some(at) = keys.iter().position(|key| key.get("keyId").and_then(Value::as_str) == Some(&id)) else {
        return Err(answer.fault(format!("`keys` to have {id}, which was used"), answer.summary()));
    };
    let field = |name: &str| format!("/keys/{at}/{name}");
    let spent = answer.number(&field("spentMsats"))?;
    answer.holds(spent > 0, "`spentMsats` above 0", spent)?;
    answer.is(&field("requests"), 1)?;
    let caveats = answer.list(&field("caveats"))?;
    let has_limit = caveats.contains(&json!("max_requests=1"));
    answer.holds(has_limit, "`caveats` to have max_requests=1", answer.summary())?;
    let path = session.path(&format!("/keys/{id}"));
    run.api.call(Method::DELETE, path).bearer(&session.macaroon).send().await?.status(200)?;
    asked_with(run, &session, &macaroon).await?.problem(401, "invalid_macaroon")?;
    // What was narrowed from it is revoked too.
    let further: Caveat = match "max_requests=2".parse() {
        Ok(caveat) => caveat,
        Err(_) => return Ok(()),
    };
    if let Ok(further) = macaroon.narrow(&further) {
        asked_with(run, &session, &further).await?.problem(401, "invalid_macaroon")?;
    }
    // The session's own still works.
    let body = json!({ "request": REQUEST, "maxOutputTokens": OUTPUT_TOKENS_MAX, "model": "no-such-model" });
    let own = run.api.post(session.path("/request")).bearer(&session.macaroon).json(&body).send().await?;
    own.names_field("model").map(drop)
}
