//! Nodes that are sold.

use crate::selftest::answer::Answer;
use crate::selftest::bill::Bill;
use crate::selftest::check::{Area, Check};
use crate::selftest::known::{Bootstrap, learned};
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use serde_json::json;

pub(super) fn area() -> Area {
    Area {
        name: "bootstrap",
        section: "Bootstrap",
        checks: vec![
            Check::new(
                "bootstrap-create",
                "a node is ordered, with an invoice for its price and a claim token",
                |run| create(run).boxed_local(),
            ),
            Check::new("bootstrap-unpaid", "a node that nobody has paid for is not made", |run| {
                unpaid(run).boxed_local()
            })
            .after(&["bootstrap-create"]),
            Check::new("bootstrap-wrong-claim-token", "a wrong claim token is a 401", |run| {
                wrong_claim_token(run).boxed_local()
            })
            .after(&["bootstrap-create"]),
            Check::new("bootstrap-bad-input", "an unknown plan is a 400, and an unknown id a 404", |run| {
                bad_input(run).boxed_local()
            })
            .after(&["bootstrap-create"]),
            Check::new("bootstrap-ready", "after it is paid, the node is made", |run| {
                ready(run).boxed_local()
            })
            .after(&["bootstrap-unpaid"]),
            Check::new(
                "bootstrap-credentials",
                "the claim token gets the credentials once, and nobody else gets them",
                |run| credentials(run).boxed_local(),
            )
            .after(&["bootstrap-ready", "bootstrap-wrong-claim-token"]),
        ],
    }
}

async fn create(run: &mut Run) -> Checked {
    run.needs_path("/api/bootstrap").await?;
    let answer = run.api.post("/api/bootstrap").json(&json!({})).send().await?;
    if answer.code() == Some("not_offered") {
        return Err(Stop::skip("this server sells no nodes"));
    }
    let answer = answer.status(201)?;
    answer.is("/state", "awaiting_payment")?;
    answer.text_at("/message")?;
    let bill = Bill::read(&answer, "/invoice")?;
    answer.is("/amountSats", bill.amount.get())?;
    answer.is_private()?;
    let id = answer.text_at("/bootstrapJobId")?;
    let path = format!("/api/bootstrap/{id}");
    let is_anonymous = !bill.description.contains(id);
    answer.holds(is_anonymous, "a BOLT11 description without ids", "the id")?;
    run.known.bootstrap = Some(Bootstrap { path, claim_token: answer.owned("/claimToken")?, bill });
    Ok(())
}

fn ordered(run: &Run) -> Checked<Bootstrap> {
    learned(run.known.bootstrap.as_ref(), "a node")
}

async fn unpaid(run: &mut Run) -> Checked {
    let node = ordered(run)?;
    for call in [run.api.get(&node.path), run.api.get(&node.path).bearer(&node.claim_token)] {
        let answer = call.send().await?.status(200)?;
        answer.is("/state", "awaiting_payment")?;
        answer.is("/invoice/paymentHash", node.bill.hash.to_string())?;
        answer.is_absent("/node")?;
        answer.is_private()?;
    }
    Ok(())
}

async fn wrong_claim_token(run: &mut Run) -> Checked {
    let node = ordered(run)?;
    let other = format!("v1.{}", "A".repeat(43));
    for token in ["garbage", &other] {
        run.api.get(&node.path).bearer(token).send().await?.problem(401, "invalid_claim_token")?;
    }
    Ok(())
}

async fn bad_input(run: &mut Run) -> Checked {
    for (body, field) in [
        (json!({ "plan": "no-such-plan" }), "plan"),
        (json!({ "plan": 5 }), "plan"),
        (json!({ "sshPublicKey": "no key" }), "sshPublicKey"),
    ] {
        run.api.post("/api/bootstrap").json(&body).send().await?.names_field(field)?;
    }
    let none = "/api/bootstrap/00000000-0000-4000-8000-000000000000";
    run.api.get(none).send().await?.problem(404, "not_found").map(drop)
}

async fn ready(run: &mut Run) -> Checked {
    let node = ordered(run)?;
    run.pay("a node", &node.bill).await?;
    let answer = run.until_state(&node.path, None, &["ready"], &["failed", "expired"]).await?;
    answer.is_absent("/invoice")
}

fn has_no_credentials(answer: &Answer) -> Checked {
    answer.is_absent("/node/credentials")
}

async fn credentials(run: &mut Run) -> Checked {
    let node = ordered(run)?;
    let stranger = run.api.get(&node.path).send().await?.status(200)?;
    stranger.is_absent("/node")?;
    let wrong = run.api.get(&node.path).bearer("garbage").send().await?;
    has_no_credentials(&wrong.problem(401, "invalid_claim_token")?)?;
    let first = run.api.get(&node.path).bearer(&node.claim_token).send().await?.status(200)?;
    first.text_at("/node/host")?;
    let has_some = first.value("/node/credentials").is_some();
    first.holds(has_some, "`node.credentials`", first.summary())?;
    first.is_private()?;
    let again = run.api.get(&node.path).bearer(&node.claim_token).send().await?.status(200)?;
    has_no_credentials(&again)?;
    again.is("/credentialsDelivered", true)
}
