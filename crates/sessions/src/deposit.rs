//! What becomes of the deposit of a session of the scheme `Payment`: it is opened, or tops another session up.

use crate::{PaymentSession, Session, SessionEnd, SessionError, SessionKind, SessionState, Warned};
use tithe_clock::Timestamp;
use tithe_money::Msats;

impl Session {
    /// The deposit is opened: from now on it pays for requests, and what is left in the end is paid to this invoice. The same again changes
    /// nothing. A deposit that has expired can still be opened: what was paid is refunded to the invoice then.
    ///
    /// # Errors
    /// [`SessionError::NotPaymentScheme`]; [`SessionError::DepositUsed`] when it was opened with another invoice, or has topped a session up;
    /// [`SessionError::NotActive`] when it is not paid, or its owner has claimed it.
    pub fn opened(&self, return_invoice: &str, now: Timestamp) -> Result<Self, SessionError> {
        let payment = self.kind.payment().ok_or(SessionError::NotPaymentScheme)?;
        match (&payment.return_invoice, payment.topped_up) {
            (Some(invoice), None) if invoice == return_invoice => return Ok(self.clone()),
            (None, None) => {}
            _ => return Err(SessionError::DepositUsed),
        }
        let is_paid = match self.state {
            SessionState::Active => true,
            SessionState::Expired(_) => !self.paid_in.is_zero(),
            SessionState::AwaitingPayment | SessionState::Closed(_) => false,
        };
        if !is_paid {
            return Err(SessionError::NotActive(self.stored_state_name()));
        }
        let payment = PaymentSession { return_invoice: Some(return_invoice.to_owned()), topped_up: None };
        Ok(self.of_payment(payment, now))
    }

    /// The balance of this deposit tops another session up: all of `balance`. Returns both as they are then: this one is closed, and has
    /// nothing. Of a session that has ended, the deposit takes the return invoice, so that it is refunded there; the second is `None` then.
    ///
    /// # Errors
    /// [`SessionError::NotPaymentScheme`], [`SessionError::NotOpened`] of the other one; [`SessionError::DepositUsed`],
    /// [`SessionError::NotActive`], [`SessionError::Money`].
    pub fn topping_up(
        &self,
        target: &Self,
        balance: Msats,
        now: Timestamp,
    ) -> Result<(Self, Option<Self>), SessionError> {
        let (own, of_target) = (self.kind.payment(), target.kind.payment());
        let (own, of_target) = own.zip(of_target).ok_or(SessionError::NotPaymentScheme)?;
        if self.id == target.id || *own != PaymentSession::default() {
            return Err(SessionError::DepositUsed);
        }
        let return_invoice = of_target.return_invoice.clone().ok_or(SessionError::NotOpened)?;
        self.check_active()?;
        let closed = Self {
            state: SessionState::Closed(SessionEnd::default()),
            warned: Warned::default(),
            ..self.clone()
        };
        if target.end().is_some() {
            let payment = PaymentSession { return_invoice: Some(return_invoice), topped_up: Some(target.id) };
            return Ok((closed.of_payment(payment, now), None));
        }
        let payment = PaymentSession { return_invoice: None, topped_up: Some(target.id) };
        let moved = Self { paid_in: self.paid_in.checked_sub(balance)?, ..closed.of_payment(payment, now) };
        let topped_up = Self {
            paid_in: target.paid_in.checked_add(balance)?,
            last_used_at: now,
            updated_at: now,
            ..target.clone()
        };
        Ok((moved, Some(topped_up)))
    }

    fn of_payment(&self, payment: PaymentSession, now: Timestamp) -> Self {
        let kind = SessionKind::Payment(Box::new(payment));
        Self { kind, last_used_at: now, updated_at: now, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewSession, SessionId, SessionKindName, StateName};
    use proptest::prelude::*;
    use std::time::Duration;
    use tithe_lightning::PaymentHash;
    use tithe_money::Sats;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const IDLE: Duration = Duration::from_hours(1);

    fn hash() -> PaymentHash {
        PaymentHash::from_bytes([1; 32])
    }

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn unpaid(id: u128) -> Session {
        let new = NewSession {
            id: SessionId(Uuid::from_u128(id)),
            kind: SessionKind::Payment(Box::default()),
            deposit: Sats::new(500).unwrap(),
            identity: None,
            webhook: None,
            return_to: None,
            created_at: NOW,
        };
        Session::new(new).deposit_invoiced(hash(), NOW).unwrap()
    }

    fn paid(id: u128) -> Session {
        unpaid(id).paid(hash(), msats(500_000), NOW).unwrap()
    }

    #[test]
    fn an_opened_deposit_pays_for_requests_and_an_unopened_one_for_nothing() {
        let deposit = paid(1);
        assert_eq!(deposit.kind.name(), SessionKindName::Deposit);
        assert_eq!(deposit.check_request(None), Err(SessionError::NotOpened));
        let opened = deposit.opened("lnbc1", NOW).unwrap();
        assert_eq!(
            (opened.kind.name(), opened.kind.return_invoice()),
            (SessionKindName::Payment, Some("lnbc1"))
        );
        assert_eq!(opened.check_request(None), Ok(()));
        assert_eq!(opened.check_top_up(), Err(SessionError::PaymentScheme));
    }

    #[test]
    fn the_return_invoice_is_set_once_and_only_of_what_was_paid() {
        let opened = paid(1).opened("lnbc1", NOW).unwrap();
        assert_eq!(opened.opened("lnbc1", NOW + IDLE), Ok(opened.clone()));
        assert_eq!(opened.opened("lnbc2", NOW), Err(SessionError::DepositUsed));
        let closed = opened.closed(NOW).unwrap();
        assert_eq!(closed.opened("lnbc1", NOW), Ok(closed.clone()));
        assert_eq!(closed.opened("lnbc2", NOW), Err(SessionError::DepositUsed));
        let awaiting = SessionError::NotActive(StateName::AwaitingPayment);
        assert_eq!(unpaid(1).opened("lnbc1", NOW), Err(awaiting));
        let never_paid = unpaid(1).invoice_expired(hash(), NOW);
        assert_eq!(never_paid.opened("lnbc1", NOW), Err(SessionError::NotActive(StateName::Expired)));
        let claimed = paid(1).closed(NOW).unwrap();
        assert_eq!(claimed.opened("lnbc1", NOW), Err(SessionError::NotActive(StateName::Closed)));
        let expired = paid(1).expired_idle(IDLE, NOW + IDLE).unwrap();
        let late = expired.opened("lnbc1", NOW + IDLE).unwrap();
        assert_eq!(
            (late.stored_state_name(), late.kind.return_invoice()),
            (StateName::Expired, Some("lnbc1"))
        );
        let prepaid = Session { kind: SessionKind::Prepaid, ..paid(1) };
        assert_eq!(prepaid.opened("lnbc1", NOW), Err(SessionError::NotPaymentScheme));
    }

    #[test]
    fn a_deposit_tops_an_opened_session_up_once_and_is_refunded_with_one_that_has_ended() {
        let (deposit, target) = (paid(1), paid(2).opened("lnbc2", NOW).unwrap());
        let (moved, topped_up) = deposit.topping_up(&target, msats(500_000), NOW).unwrap();
        let topped_up = topped_up.unwrap();
        assert_eq!((moved.paid_in, topped_up.paid_in), (Msats::ZERO, msats(1_000_000)));
        assert_eq!((moved.stored_state_name(), moved.kind.return_invoice()), (StateName::Closed, None));
        let again = moved.topping_up(&topped_up, msats(0), NOW);
        assert_eq!(again, Err(SessionError::DepositUsed));
        assert_eq!(moved.opened("lnbc1", NOW), Err(SessionError::DepositUsed));
        // Into an ended one, the money goes where that session's goes.
        let ended = target.closed(NOW).unwrap();
        let (refunded, none) = deposit.topping_up(&ended, msats(500_000), NOW).unwrap();
        assert_eq!((refunded.paid_in, none), (msats(500_000), None));
        let payment = refunded.kind.payment().unwrap();
        assert_eq!((payment.return_invoice.as_deref(), payment.topped_up), (Some("lnbc2"), Some(ended.id)));
        assert_eq!(refunded.kind.return_invoice(), None, "it is no session");
        assert_eq!(refunded.topping_up(&ended, msats(1), NOW), Err(SessionError::DepositUsed));
        assert_eq!(refunded.opened("lnbc2", NOW), Err(SessionError::DepositUsed));
        // Nothing else is a target, or a source.
        for (source, target, refused) in [
            (paid(1), paid(2), SessionError::NotOpened),
            (paid(1), Session { kind: SessionKind::Prepaid, ..paid(2) }, SessionError::NotPaymentScheme),
            (target.clone(), target.clone(), SessionError::DepositUsed),
            (paid(3).opened("lnbc3", NOW).unwrap(), target.clone(), SessionError::DepositUsed),
            (unpaid(1), target, SessionError::NotActive(StateName::AwaitingPayment)),
        ] {
            assert_eq!(source.topping_up(&target, msats(1), NOW), Err(refused));
        }
    }

    proptest! {
        #[test]
        fn a_move_neither_makes_nor_loses_money(of_source in 1_u64..1_000_000, of_target in 1_u64..1_000_000) {
            let of = |id, amount| unpaid(id).paid(hash(), msats(amount), NOW).unwrap();
            let target = of(2, of_target).opened("lnbc2", NOW).unwrap();
            let (moved, topped_up) = of(1, of_source).topping_up(&target, msats(of_source), NOW).unwrap();
            let sum = moved.paid_in.checked_add(topped_up.unwrap().paid_in).unwrap();
            prop_assert_eq!(sum, msats(of_source + of_target));
        }
    }
}
