//! Closing a session.

use super::prices::order;
use super::refunds;
use super::spending::agrees;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Session, learned};
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::json;

pub(super) fn area() -> Area {
    Area {
        name: "closing",
        section: "Sessions",
        checks: vec![
            Check::new(
                "session-close-bad-destination",
                "a session stays open if its refund is to go where it cannot be paid",
                |run| bad_destination(run).boxed_local(),
            )
            .after(&["session-active"]),
            Check::new("session-close", "closing a session refunds what is left, in whole sats", |run| {
                close(run).boxed_local()
            })
            .after(&["session-active"]),
            Check::new("session-close-again", "closing again changes nothing", |run| {
                close_again(run).boxed_local()
            })
            .after(&["session-close"]),
            Check::new(
                "session-refund-paid",
                "the refund of a closed session arrives at the customer's invoice",
                |run| refund_paid(run).boxed_local(),
            )
            .after(&["session-close-again"]),
            Check::new("session-closed", "a closed session does no work and takes no money", |run| {
                closed(run).boxed_local()
            })
            .after(&["session-close"]),
        ],
    }
}

fn session_of(run: &Run) -> Checked<Session> {
    learned(run.known.session.as_ref(), "a session")
}

async fn bad_destination(run: &mut Run) -> Checked {
    run.needs_path(refunds::ROUTE).await?;
    let session = session_of(run)?;
    let body = json!({ "returnTo": { "invoice": "lnbc1garbage" } });
    let answer = run.api.post(session.path("/close")).bearer(&session.macaroon).json(&body).send().await?;
    answer.names_field("invoice")?;
    let shown = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
    shown.is_one_of("/state", &["active", "exhausted"])?;
    agrees(run, &session).await
}

async fn refund_paid(run: &mut Run) -> Checked {
    run.needs_path(refunds::ROUTE).await?;
    let session = session_of(run)?;
    let shown = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
    let invoice = run.refund_invoice(refunds::payable(&shown)?).await?;
    let body = json!({ "returnTo": { "invoice": invoice.as_str() } });
    let answer = run.api.post(session.path("/close")).bearer(&session.macaroon).json(&body).send().await?;
    answer.status(202)?.is("/state", "closed")?;
    let macaroon = format!("Bearer {}", session.macaroon);
    refunds::until_paid(run, &session.path(""), Some(&macaroon), &invoice).await
}

async fn close(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let answer =
        run.api.post(session.path("/close")).bearer(&session.macaroon).json(&json!({})).send().await?;
    let answer = answer.status(202)?;
    answer.is("/state", "closed")?;
    // Less than a sat is booked as rounding.
    let left = session.balance_msats() / 1_000;
    answer.is("/refund/amountSats", left)?;
    let states: &[&str] = if left == 0 { &["not_applicable"] } else { &["pending", "paying", "paid"] };
    answer.is_one_of("/refund/state", states)?;
    run.known.closed_refund = Some(left);
    Ok(())
}

async fn close_again(run: &mut Run) -> Checked {
    let (session, left) = (session_of(run)?, learned(run.known.closed_refund.as_ref(), "a refund")?);
    let answer =
        run.api.post(session.path("/close")).bearer(&session.macaroon).json(&json!({})).send().await?;
    let answer = answer.status(202)?;
    answer.is("/state", "closed")?;
    answer.is("/refund/amountSats", left)?;
    let shown = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
    shown.is("/state", "closed")?;
    shown.is("/balanceMsats", 0)?;
    shown.is("/spentMsats", session.spent_msats)?;
    shown.is("/refund/amountSats", left)
}

async fn closed(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let topup = json!({ "amountSats": session.deposit });
    for (path, body) in [("/request", order()), ("/topup", topup)] {
        let answer = run.api.post(session.path(path)).bearer(&session.macaroon).json(&body).send().await?;
        answer.problem(409, "session_ended")?;
    }
    Ok(())
}
