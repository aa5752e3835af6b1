//! Reading what is offered for a payment, and what became of that.

use crate::selftest::answer::Answer;
use crate::selftest::bill::Bill;
use crate::selftest::known::PaidOffer;
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;

/// The invoice of the offer in a 402, whose challenges must be for it too; and the token of L402.
pub(super) fn read(answer: &Answer) -> Checked<(Bill, String)> {
    let bill = Bill::read_offered(answer, "/offer")?;
    answer.is("/offer/amountSats", bill.amount.get())?;
    let template = answer.text_at("/offer/authorization")?;
    let token = template.strip_prefix("L402 ").and_then(|rest| rest.strip_suffix(":<preimage>"));
    let token = token.ok_or_else(|| {
        answer.fault("`offer.authorization` to be `L402 <token>:<preimage>`", template.to_owned())
    })?;
    let invoice = bill.bolt11.as_str();
    let expected = [
        format!("L402 macaroon=\"{token}\", invoice=\"{invoice}\""),
        format!("L402 version=\"0\", token=\"{token}\", macaroon=\"{token}\", invoice=\"{invoice}\""),
    ];
    let challenges = answer.headers.get_all("www-authenticate").iter();
    let challenges: Vec<&str> = challenges.filter_map(|value| value.to_str().ok()).collect();
    let is_l402 = challenges.iter().zip(&expected).all(|(got, expected)| got == expected);
    answer.holds(is_l402 && challenges.len() >= 3, expected.join(" and "), challenges.join(" and "))?;
    let is_payment = challenges.get(2).is_some_and(|third| {
        third.starts_with("Payment ")
            && third.contains("method=\"lightning\"")
            && third.contains("intent=\"charge\"")
    });
    answer.holds(is_payment, "a third challenge: Payment, lightning, charge", challenges.join(" and "))?;
    answer.is_private()?;
    Ok((bill, token.to_owned()))
}

/// What became of a payment.
pub(super) async fn payment_of(run: &Run, offer: &PaidOffer, preimage: &str) -> Checked<Answer> {
    let path = format!("/api/payments/{}", offer.bill.hash);
    run.api.get(&path).send().await?.problem(401, "invalid_payment_proof")?;
    // Every node that has forwarded the payment knows the preimage.
    let alone = run.api.get(&path).bearer(preimage).send().await?;
    alone.holds(alone.status == 401, "401 for the preimage alone", alone.status)?;
    let proof = format!("L402 {}:{preimage}", offer.token);
    run.api.get(&path).header("authorization", &proof).send().await?.status(200)
}
