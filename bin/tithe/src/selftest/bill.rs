//! Invoices, as the contract describes them.

use super::answer::Answer;
use super::api::now;
use super::excerpt;
use super::outcome::{Checked, Stop};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use std::time::Duration;
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_money::Sats;
use tithe_paywall::payment::SessionRequest;

/// How much the expiry of an answer may differ from that of its BOLT11 text, which has whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// What `payment` says of a hold invoice.
pub(super) const HELD: &str = "held";

/// An invoice of the server, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bill {
    /// The answer's request, for messages.
    pub(super) request: String,
    pub(super) bolt11: Bolt11,
    pub(super) hash: PaymentHash,
    pub(super) amount: Sats,
    /// What the payer's wallet shows.
    pub(super) description: String,
}

impl Bill {
    /// The invoice at a JSON pointer. Its BOLT11 text must have a valid signature, and the amount, the payment hash and the expiry of
    /// the fields beside it.
    pub(super) fn read(answer: &Answer, pointer: &str) -> Checked<Self> {
        Self::read_of(answer, pointer, false)
    }

    /// The hold invoice at a JSON pointer. Its wallet may take payments for longer than it is offered.
    pub(super) fn read_held(answer: &Answer, pointer: &str) -> Checked<Self> {
        Self::read_of(answer, pointer, true)
    }

    /// The invoice of the offer at a JSON pointer, which says whether it is a hold invoice.
    pub(super) fn read_offered(answer: &Answer, offer: &str) -> Checked<Self> {
        let is_held = answer.is(&format!("{offer}/payment"), HELD).is_ok();
        Self::read_of(answer, &format!("{offer}/invoice"), is_held)
    }

    fn read_of(answer: &Answer, pointer: &str, is_held: bool) -> Checked<Self> {
        let at = |field: &str| format!("{pointer}/{field}");
        let amount = amount_at(answer, &at("amountSats"))?;
        let bill = Self::of(answer, answer.text_at(&at("paymentRequest"))?, amount)?;
        answer.is(&at("paymentHash"), bill.hash.to_string())?;
        let (expires_at, of_text) = (answer.time(&at("expiresAt"))?, bill.bolt11.expires_at());
        let wrong = |expected: String, got: String| answer.fault(format!("paymentRequest: {expected}"), got);
        let (too_early, too_late) = (expires_at.since(of_text), of_text.since(expires_at));
        if too_early > SECOND || (too_late > SECOND && !is_held) {
            let expected = format!("an invoice that expires at expiresAt, {expires_at}");
            return Err(wrong(expected, of_text.to_string()));
        }
        if expires_at <= now() {
            let expected = "an invoice that can be paid".to_owned();
            return Err(wrong(expected, format!("one that expired at {expires_at}")));
        }
        Ok(bill)
    }

    /// The invoice of the deposit in a challenge of the scheme `Payment`.
    pub(super) fn of_deposit(answer: &Answer, terms: &SessionRequest) -> Checked<Self> {
        let missing = |name: &str| answer.fault(format!("a challenge with `{name}`"), "none");
        let text = terms.deposit_invoice.as_deref().ok_or_else(|| missing("depositInvoice"))?;
        let amount = terms.deposit_amount.ok_or_else(|| missing("depositAmount"))?;
        let bill = Self::of(answer, text, amount)?;
        let is_of_hash = terms.payment_hash == *bill.hash.as_bytes();
        answer.holds(is_of_hash, format!("`paymentHash` to be {}", bill.hash), "another one")?;
        Ok(bill)
    }

    /// An invoice for this amount, in an answer.
    fn of(answer: &Answer, text: &str, amount: Sats) -> Checked<Self> {
        let wrong = |expected: &str, got: String| answer.fault(format!("paymentRequest: {expected}"), got);
        let parsed: Bolt11Invoice = text
            .parse()
            .map_err(|_| wrong("a BOLT11 invoice with a valid signature", excerpt::short(text)))?;
        let bolt11 = Bolt11::try_from(&parsed)
            .map_err(|failure| wrong("a BOLT11 invoice", excerpt::short(&failure.to_string())))?;
        if bolt11.amount() != Some(amount.to_msats()) {
            let got =
                bolt11.amount().map_or("an invoice without an amount".to_owned(), |msats| msats.to_string());
            return Err(wrong(&format!("an invoice for amountSats, {}", amount.to_msats()), got));
        }
        let hash = bolt11.payment_hash();
        let description = match parsed.description() {
            Bolt11InvoiceDescriptionRef::Direct(text) => text.to_string(),
            Bolt11InvoiceDescriptionRef::Hash(_) => String::new(),
        };
        Ok(Self { request: answer.request.clone(), bolt11, hash, amount, description })
    }

    /// A fault of this invoice.
    pub(super) fn fault(&self, expected: impl std::fmt::Display, got: impl std::fmt::Display) -> Stop {
        Stop::fault(self.request.clone(), expected, got)
    }
}

/// An amount in sats.
pub(super) fn amount_at(answer: &Answer, pointer: &str) -> Checked<Sats> {
    let number = answer.number(pointer)?;
    Sats::new(number).map_err(|_| answer.fault("an amount of at most 21 million bitcoin", number))
}
