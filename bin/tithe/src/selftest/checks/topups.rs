//! Topping a session up.

use super::spending::agrees;
use crate::selftest::bill::Bill;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Session, learned};
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::json;

pub(super) fn area() -> Area {
    Area {
        name: "topups",
        section: "Sessions",
        checks: vec![
            Check::new(
                "topup-create",
                "a top-up has an invoice, which the session shows while it is unpaid",
                |run| create(run).boxed_local(),
            )
            .after(&["session-active"]),
            Check::new(
                "topup-pending",
                "a second top-up while one is unpaid is a 409 with the pending one",
                |run| pending(run).boxed_local(),
            )
            .after(&["topup-create"]),
            Check::new("topup-paid", "a paid top-up raises the balance by exactly its amount", |run| {
                paid(run).boxed_local()
            })
            .after(&["topup-pending"]),
        ],
    }
}

fn session_of(run: &Run) -> Checked<Session> {
    learned(run.known.session.as_ref(), "a session")
}

async fn create(run: &mut Run) -> Checked {
    let session = session_of(run)?;
    let body = json!({ "amountSats": session.deposit });
    let call = run.api.post(session.path("/topup")).bearer(&session.macaroon).json(&body);
    let answer = call.send().await?.status(201)?;
    let bill = Bill::read(&answer, "/pendingTopup")?;
    answer.is("/pendingTopup/amountSats", session.deposit)?;
    answer.is_private()?;
    let shown = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
    shown.is("/pendingTopup/paymentHash", bill.hash.to_string())?;
    agrees(run, &session).await?;
    run.known.top_up = Some(bill);
    Ok(())
}

async fn pending(run: &mut Run) -> Checked {
    let (session, bill) = (session_of(run)?, learned(run.known.top_up.as_ref(), "a top-up")?);
    let body = json!({ "amountSats": session.deposit });
    let call = run.api.post(session.path("/topup")).bearer(&session.macaroon).json(&body);
    let answer = call.send().await?.problem(409, "top_up_pending")?;
    answer.is("/pendingTopup/paymentHash", bill.hash.to_string())
}

async fn paid(run: &mut Run) -> Checked {
    let (mut session, bill) = (session_of(run)?, learned(run.known.top_up.as_ref(), "a top-up")?);
    run.pay("a top-up of a session", &bill).await?;
    session.paid_msats = session.paid_msats.saturating_add(bill.amount.to_msats().get());
    // Another invoice can be asked for as soon as this one is credited.
    loop {
        let shown = run.api.get(session.path("")).bearer(&session.macaroon).send().await?.status(200)?;
        if shown.value("/pendingTopup").is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    agrees(run, &session).await?;
    let invoice = run.api.get(format!("/api/invoices/{}", bill.hash)).send().await?.status(200)?;
    invoice.is("/purpose", "session_top_up")?;
    invoice.is("/state", "paid")?;
    run.known.session = Some(session);
    Ok(())
}
