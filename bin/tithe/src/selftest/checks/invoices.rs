//! Invoices, read by their payment hashes.

use super::prices::order;
use crate::selftest::bill::Bill;
use crate::selftest::check::{Area, Check};
use crate::selftest::excerpt;
use crate::selftest::known::learned;
use crate::selftest::outcome::{Checked, Stop};
use crate::selftest::run::Run;
use futures_util::FutureExt;
use tithe_lightning::PaymentHash;

pub(super) fn area() -> Area {
    Area {
        name: "invoices",
        section: "Invoices",
        checks: vec![
            Check::new(
                "invoice-pending",
                "the hash of an unpaid invoice leads to its state and to nothing else",
                |run| pending(run).boxed_local(),
            ),
            Check::new(
                "invoice-paid",
                "the hash of a paid invoice shows when it was paid, and no preimage",
                |run| paid(run).boxed_local(),
            )
            .after(&["job-evaluation"]),
            Check::new(
                "invoice-owner",
                "the claim token and the preimage show what the invoice pays for; other secrets do not",
                |run| owner(run).boxed_local(),
            )
            .after(&["invoice-paid"]),
            Check::new("invoice-unknown", "an unknown hash is a 404, and a text that is none a 400", |run| {
                unknown(run).boxed_local()
            }),
            Check::new("invoice-paid-twice", "the dev route does not pay an invoice twice", |run| {
                paid_twice(run).boxed_local()
            })
            .after(&["job-evaluation"]),
        ],
    }
}

fn path(hash: PaymentHash) -> String {
    format!("/api/invoices/{hash}")
}

async fn pending(run: &mut Run) -> Checked {
    let created = run.api.post("/api/jobs").json(&order()).send().await?.status(201)?;
    let bill = Bill::read(&created, "/evalInvoice")?;
    let answer = run.api.get(path(bill.hash)).send().await?.status(200)?;
    answer.is("/paymentHash", bill.hash.to_string())?;
    answer.is("/state", "pending")?;
    answer.is("/purpose", "job_eval")?;
    answer.is("/amountSats", bill.amount.get())?;
    answer.is("/expiresAt", created.owned("/evalInvoice/expiresAt")?)?;
    answer.is_absent("/paidAt")?;
    answer.is_absent("/ownerPath")?;
    // Neither the job nor what the invoice would let somebody else pay.
    let job_id = created.text_at("/jobId")?;
    answer.holds(!answer.text.contains(job_id), "nothing that leads to the job", "the id of the job")?;
    answer.is_private()
}

async fn paid(run: &mut Run) -> Checked {
    let eval = learned(run.known.eval.as_ref(), "a paid invoice")?;
    let answer = run.api.get(path(eval.bill.hash)).send().await?.status(200)?;
    answer.is("/state", "paid")?;
    answer.time("/paidAt")?;
    answer.is_absent("/ownerPath")?;
    let reveals = answer.text.contains(&eval.preimage.reveal());
    answer.holds(!reveals, "no preimage, which is the payer's proof", "the preimage")
}

async fn owner(run: &mut Run) -> Checked {
    let (job, eval) =
        (learned(run.known.job.as_ref(), "a job")?, learned(run.known.eval.as_ref(), "a paid invoice")?);
    let owner = format!("/api/jobs/{}", job.id);
    for secret in [job.claim_token, eval.preimage.reveal()] {
        let answer = run.api.get(path(eval.bill.hash)).bearer(&secret).send().await?.status(200)?;
        answer.is("/ownerPath", owner.clone())?;
        let reveals = answer.value("/preimage").is_some();
        answer.holds(!reveals, "no preimage, not even for the owner", "one")?;
    }
    for secret in
        ["v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &"00".repeat(32), &eval.bill.hash.to_string()]
    {
        let answer = run.api.get(path(eval.bill.hash)).bearer(secret).send().await?;
        let shows = answer.text.contains(&job.id);
        answer.holds(
            !shows,
            "no `ownerPath` for a secret that is not the owner's",
            excerpt::of_body(&answer.text),
        )?;
    }
    Ok(())
}

async fn unknown(run: &mut Run) -> Checked {
    run.api.get(path(PaymentHash::from_bytes([0; 32]))).send().await?.problem(404, "not_found")?;
    for text in ["no-hash", "00", &"zz".repeat(32)] {
        run.api.get(format!("/api/invoices/{text}")).send().await?.names_field("paymentHash")?;
    }
    Ok(())
}

async fn paid_twice(run: &mut Run) -> Checked {
    if run.payer.name() != "dev" {
        return Err(Stop::skip("the invoices were not paid by the dev route"));
    }
    let hash = learned(run.known.eval.as_ref(), "a paid invoice")?.bill.hash;
    run.api.post(format!("/dev/stub/pay/{hash}")).send().await?.status(409)?;
    let unknown = PaymentHash::from_bytes([0; 32]);
    run.api.post(format!("/dev/stub/pay/{unknown}")).send().await?.status(404).map(drop)
}
