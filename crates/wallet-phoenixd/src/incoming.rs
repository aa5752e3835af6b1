//! phoenixd's record of an invoice.
//!
//! phoenixd reports what arrived after its fees (`receivedSat`) and the fees (`fees`), but not what the payer paid:
//!
//! - Without fees, what arrived is what was paid. That includes payments that became *fee credit*, which phoenixd does not
//!   mark: [`crate::PhoenixdWallet`] counts the credit as a part of its balance for that reason.
//! - With fees, the payment bought liquidity. A part of the fees may have been paid from the fee credit, so the sum of both
//!   fields can be more than what was paid; what was paid is then the amount of the invoice, or what arrived if that is more.
//!   (A payer who paid more than the invoice *and* triggered a purchase is credited with the amount of the invoice.)
//!
//! In either case the balance, fee credit included, rises by what was paid less the fees. The fees may exceed the payment.

use crate::amounts::{msats, time};
use crate::answers::IncomingPayment;
use crate::api::Api;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::{
    Bolt11, Direction, InvoiceStatus, PaymentHash, ReceivedPayment, WalletError, WalletPayment,
};
use tithe_money::Msats;

/// For how long after the expiry a payment may still arrive whose parts came in time: phoenixd waits 60 seconds for the parts of
/// a payment, and 30 more when it has to buy liquidity first.
const EXPIRY_GRACE: Duration = Duration::from_mins(2);

/// Looks an invoice up.
pub(crate) async fn find(
    api: &Api,
    payment_hash: PaymentHash,
) -> Result<Option<IncomingPayment>, WalletError> {
    let found: Option<IncomingPayment> = api.find(&format!("payments/incoming/{payment_hash}")).await?;
    if found.as_ref().is_some_and(|payment| payment.payment_hash != payment_hash) {
        return Err(WalletError::Nonsense(format!(
            "incoming payment {payment_hash}: another one was returned"
        )));
    }
    Ok(found)
}

impl IncomingPayment {
    /// The payment, once it has arrived.
    pub fn received(&self) -> Result<Option<ReceivedPayment>, WalletError> {
        if !self.is_paid {
            return Ok(None);
        }
        if self.preimage.is_some_and(|preimage| preimage.payment_hash() != self.payment_hash) {
            return Err(self.nonsense("wrong preimage"));
        }
        let completed_at = self.completed_at.ok_or_else(|| self.nonsense("paid without completedAt"))?;
        Ok(Some(ReceivedPayment {
            payment_hash: self.payment_hash,
            amount: self.amount()?,
            liquidity_fee: msats("fees", self.fees.into())?,
            preimage: self.preimage,
            received_at: time("completedAt", completed_at)?,
        }))
    }

    /// The state of the invoice.
    pub fn status(&self, now: Timestamp) -> Result<InvoiceStatus, WalletError> {
        if let Some(payment) = self.received()? {
            return Ok(InvoiceStatus::Settled(payment));
        }
        let over = self.expires_at()?.is_some_and(|expiry| expiry + EXPIRY_GRACE <= now);
        // phoenixd's clock decides what it accepts, so it must agree.
        let expired = over && self.is_expired != Some(false);
        Ok(if expired { InvoiceStatus::Expired } else { InvoiceStatus::Pending })
    }

    /// The payment in the wallet's list.
    pub fn settled(&self) -> Result<Option<WalletPayment>, WalletError> {
        Ok(self.received()?.map(|payment| WalletPayment {
            direction: Direction::Incoming,
            payment_hash: payment.payment_hash,
            amount: payment.amount,
            fee: payment.liquidity_fee,
            settled_at: payment.received_at,
            description: self.description.clone(),
        }))
    }

    /// What the payer paid.
    fn amount(&self) -> Result<Msats, WalletError> {
        let received = i128::from(self.received_sat) * 1_000;
        if self.fees == 0 {
            return msats("receivedSat", received);
        }
        let fees = i128::from(self.fees);
        let Some(requested) = self.requested()? else {
            return msats("receivedSat and fees", received + fees);
        };
        // receivedSat is rounded.
        if received + 999 + fees < requested {
            return Err(self.nonsense("received and fees are less than requested"));
        }
        msats("receivedSat", requested.max(received))
    }

    /// The amount of the invoice in millisats, if it has one.
    fn requested(&self) -> Result<Option<i128>, WalletError> {
        if let Some(sats) = self.requested_sat {
            return Ok(Some(i128::from(sats) * 1_000));
        }
        Ok(self.bolt11()?.and_then(|invoice| invoice.amount()).map(|amount| amount.get().into()))
    }

    fn expires_at(&self) -> Result<Option<Timestamp>, WalletError> {
        match self.expires_at {
            Some(millis) => time("expiresAt", millis).map(Some),
            None => Ok(self.bolt11()?.map(|invoice| invoice.expires_at())),
        }
    }

    /// The invoice itself, for versions that do not repeat its content.
    fn bolt11(&self) -> Result<Option<Bolt11>, WalletError> {
        let Some(text) = &self.invoice else { return Ok(None) };
        let invoice: Bolt11 = text.parse().map_err(|_| self.nonsense("invalid invoice"))?;
        if invoice.payment_hash() != self.payment_hash {
            return Err(self.nonsense("invoice with another payment hash"));
        }
        Ok(Some(invoice))
    }

    fn nonsense(&self, what: &str) -> WalletError {
        WalletError::Nonsense(format!("incoming payment {}: {what}", self.payment_hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_lightning::Preimage;

    const PREIMAGE: Preimage = Preimage::from_bytes([7; 32]);
    const EXPIRES_AT: i64 = 1_700_000_000_000;

    fn unpaid() -> IncomingPayment {
        IncomingPayment {
            payment_hash: PREIMAGE.payment_hash(),
            preimage: Some(PREIMAGE),
            is_paid: false,
            is_expired: None,
            requested_sat: Some(18_037),
            invoice: None,
            description: None,
            received_sat: 0,
            fees: 0,
            expires_at: Some(EXPIRES_AT),
            completed_at: None,
        }
    }

    fn paid(requested_sat: Option<u64>, received_sat: i64, fees: u64) -> IncomingPayment {
        let completed_at = Some(EXPIRES_AT - 60_000);
        IncomingPayment { is_paid: true, requested_sat, received_sat, fees, completed_at, ..unpaid() }
    }

    /// What was paid and what the wallet kept, in millisats.
    fn books(payment: &IncomingPayment) -> (u64, u64) {
        let received = payment.received().unwrap().unwrap();
        (received.amount.get(), received.liquidity_fee.get())
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_micros(millis * 1_000).unwrap()
    }

    #[test]
    fn without_fees_what_arrived_is_what_was_paid() {
        assert_eq!(books(&paid(Some(100), 100, 0)), (100_000, 0));
        assert_eq!(books(&paid(Some(100), 150, 0)), (150_000, 0), "the payer paid more");
        assert_eq!(books(&paid(None, 150, 0)), (150_000, 0), "an invoice of any amount");
    }

    #[test]
    fn a_payment_that_opened_a_channel_is_credited_in_full_and_its_fee_is_the_operators() {
        // A case from the field: 18,037 sat expected, 2,234 sat arrived, 15,803 sat of fees.
        assert_eq!(books(&paid(Some(18_037), 2_234, 15_803_000)), (18_037_000, 15_803_000));
        // The same before 0.6.1, which did not repeat the requested amount, for an invoice that has none.
        assert_eq!(books(&paid(None, 2_234, 15_803_000)), (18_037_000, 15_803_000));
    }

    #[test]
    fn fees_paid_from_the_fee_credit_are_not_credited_to_the_customer() {
        // 5,000 sat of the 20,000 sat of fees came from the credit: 85,000 of 100,000 sat arrived. The channel rises by 85,000
        // and the credit falls by 5,000: together 100,000 less 20,000.
        assert_eq!(books(&paid(Some(100_000), 85_000, 20_000_000)), (100_000_000, 20_000_000));
        // The payer paid much more than requested: at least what arrived was paid.
        assert_eq!(books(&paid(Some(100_000), 130_000, 20_000_000)), (130_000_000, 20_000_000));
    }

    #[test]
    fn fees_may_exceed_the_payment() {
        assert_eq!(books(&paid(Some(5_000), -16_000, 21_000_000)), (5_000_000, 21_000_000));
    }

    #[test]
    fn the_rounding_of_what_arrived_is_not_a_shortfall() {
        assert_eq!(books(&paid(Some(1_000), 499, 500_500)), (1_000_000, 500_500));
        let short = paid(Some(1_000), 499, 500_000);
        assert!(matches!(short.received(), Err(WalletError::Nonsense(_))));
        assert!(matches!(paid(Some(1_000), -1, 0).received(), Err(WalletError::Nonsense(_))));
    }

    #[test]
    fn only_a_payment_that_arrived_reveals_its_preimage() {
        assert_eq!(unpaid().received().unwrap(), None);
        assert_eq!(unpaid().status(at(EXPIRES_AT)).unwrap(), InvoiceStatus::Pending);
        let received = paid(Some(100), 100, 0).received().unwrap().unwrap();
        assert_eq!(received.preimage, Some(PREIMAGE));
        assert_eq!(received.received_at, at(EXPIRES_AT - 60_000));
    }

    #[test]
    fn a_wrong_preimage_or_a_payment_without_a_time_is_nonsense() {
        let wrong = IncomingPayment { preimage: Some(Preimage::from_bytes([8; 32])), ..paid(None, 1, 0) };
        assert!(matches!(wrong.received(), Err(WalletError::Nonsense(_))));
        let timeless = IncomingPayment { completed_at: None, ..paid(None, 1, 0) };
        assert!(matches!(timeless.received(), Err(WalletError::Nonsense(_))));
    }

    #[test]
    fn an_invoice_is_expired_when_no_part_of_a_payment_can_be_under_way() {
        let grace = 120_000;
        assert_eq!(unpaid().status(at(EXPIRES_AT + grace - 1)).unwrap(), InvoiceStatus::Pending);
        assert_eq!(unpaid().status(at(EXPIRES_AT + grace)).unwrap(), InvoiceStatus::Expired);
        let alive = IncomingPayment { is_expired: Some(false), ..unpaid() };
        assert_eq!(alive.status(at(EXPIRES_AT + grace)).unwrap(), InvoiceStatus::Pending, "phoenixd's clock");
        let endless = IncomingPayment { expires_at: None, ..unpaid() };
        assert_eq!(endless.status(at(EXPIRES_AT * 2)).unwrap(), InvoiceStatus::Pending);
        let late = paid(Some(100), 100, 0).status(at(EXPIRES_AT + grace)).unwrap();
        assert!(matches!(late, InvoiceStatus::Settled(_)), "a payment counts however late it is noticed");
    }
}
