//! How a payout ends.

use crate::obligation::{Deferral, Obligation};
use crate::payout::{Payout, PayoutState};
use crate::{Destination, PayoutError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::{AccountId, Transfer, TransferKey, TransferKind};
use tithe_lightning::Preimage;
use tithe_money::{MoneyError, Msats, Sats};
use uuid::Uuid;

/// How often a payout in flight is looked up: soon at first, then for each part of its age.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_mins(10);

/// A certain failure of a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The reason, for the operator.
    pub reason: &'a str,
    /// What follows for the destination.
    pub why: Deferral,
    /// What the customer is shown.
    pub problem: &'a str,
}

/// Which attempt of a payout a step is about: the wallet's word on an earlier attempt ends no later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The number of the attempt.
    pub number: u32,
}

/// A payout that has ended, with what it changes: the caller writes all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The obligation.
    pub obligation: Obligation,
    /// The payout.
    pub payout: Payout,
    /// The transfers, to be added.
    pub transfers: Vec<Transfer>,
}

impl Payout {
    /// The attempt that is in flight.
    ///
    /// # Errors
    /// [`PayoutError::NotInFlight`].
    fn since(&self, attempt: Attempt) -> Result<Timestamp, PayoutError> {
        match self.state {
            PayoutState::Paying { since } if self.attempts == attempt.number => Ok(since),
            _ => Err(PayoutError::NotInFlight(self.payment_hash)),
        }
    }

    /// The outcome is still unknown: it is looked up again later, the more seldom the longer it takes.
    ///
    /// # Errors
    /// [`PayoutError::NotInFlight`].
    pub fn looked_up(&self, attempt: Attempt, now: Timestamp) -> Result<Self, PayoutError> {
        let age = now.since(self.since(attempt)?);
        let rest = (age / 4).clamp(LOOK_FIRST, LOOK_MAX);
        Ok(Self {
            looks: self.looks.saturating_add(1),
            next_look_at: now + rest,
            updated_at: now,
            ..self.clone()
        })
    }

    /// The wallet has no record of the attempt: the same invoice, and no other, is about to be paid again.
    ///
    /// # Errors
    /// [`PayoutError::NotInFlight`].
    pub fn sent_again(&self, attempt: Attempt, now: Timestamp) -> Result<Self, PayoutError> {
        self.since(attempt)?;
        Ok(Self {
            state: PayoutState::Paying { since: now },
            attempts: self.attempts.saturating_add(1),
            looks: 0,
            next_look_at: now,
            updated_at: now,
            ..self.clone()
        })
    }
}

impl Obligation {
    /// The customer was paid, by a payout in flight or by one that the wallet had wrongly called failed. The transfers:
    ///
    /// - `refund_paid`: what the customer got, `refunds_due → wallet`;
    /// - `fee_reserve`: what the customer left for the fee, `refunds_due → routing_fees`;
    /// - `routing_fee`: what the fee was, `routing_fees → wallet`;
    /// - `refund_overpaid`: what was not due any more, because something else was paid or settled meanwhile, `operator → refunds_due`.
    ///
    /// # Errors
    /// [`PayoutError::NotInFlight`], [`PayoutError::WrongPreimage`].
    pub fn paid(
        &self,
        payout: &Payout,
        attempt: Attempt,
        preimage: Preimage,
        fee: Msats,
        now: Timestamp,
    ) -> Result<Settled, PayoutError> {
        let hash = payout.payment_hash;
        let is_flying = payout.since(attempt).is_ok() && self.in_flight == Some(hash);
        // The wallet had said that it failed. The preimage proves that it was wrong.
        let had_failed = matches!(payout.state, PayoutState::Failed { .. }) && self.in_flight.is_none();
        if !(is_flying || had_failed) || self.account != payout.account {
            return Err(PayoutError::NotInFlight(hash));
        }
        if preimage.payment_hash() != hash {
            return Err(PayoutError::WrongPreimage(hash));
        }
        let (amount, reserve) = (payout.amount.to_msats(), payout.fee_limit.to_msats());
        let (due, paid) = (self.due.to_msats(), amount.checked_add(reserve)?);
        // Nothing else can have been paid or settled while it was in flight.
        let overpaid = if had_failed { paid.saturating_sub(due) } else { Msats::ZERO };
        let due = due.checked_add(overpaid)?.checked_sub(paid)?.to_sats_rounding_down();
        let reference = self.reference();
        let transfer = |suffix: &str, debit, credit, amount, kind| Transfer {
            key: TransferKey::new(format!("payout:{hash}{suffix}")),
            debit,
            credit,
            amount,
            kind,
            reference,
            created_at: now,
        };
        let (refunds, fees, wallet) = (AccountId::RefundsDue, AccountId::RoutingFees, AccountId::Wallet);
        let transfers = [
            transfer(":overpaid", AccountId::Operator, refunds, overpaid, TransferKind::RefundOverpaid),
            transfer("", refunds, wallet, amount, TransferKind::RefundPaid),
            transfer(":fee_reserve", refunds, fees, reserve, TransferKind::FeeReserve),
            transfer(":routing_fee", fees, wallet, fee, TransferKind::RoutingFee),
        ];
        // An invoice is spent; an address is paid whatever may become due later.
        let is_address = matches!(self.destination, Some(Destination::Address(_)));
        Ok(Settled {
            obligation: Self {
                due,
                destination: self.destination.clone().filter(|_| is_address),
                in_flight: None,
                last_paid: Some(hash),
                failures: 0,
                problem: None,
                next_try_at: now,
                updated_at: now,
                ..self.clone()
            },
            payout: Payout { state: PayoutState::Paid { preimage, fee }, updated_at: now, ..payout.clone() },
            transfers: transfers.into_iter().filter(|transfer| !transfer.amount.is_zero()).collect(),
        })
    }

    /// It is certain that nothing was paid: everything stays due.
    ///
    /// # Errors
    /// [`PayoutError::NotInFlight`].
    pub fn failed(
        &self,
        payout: &Payout,
        attempt: Attempt,
        failure: &Failure<'_>,
        now: Timestamp,
    ) -> Result<Settled, PayoutError> {
        payout.since(attempt)?;
        if self.in_flight != Some(payout.payment_hash) {
            return Err(PayoutError::NotInFlight(payout.payment_hash));
        }
        let landed = Self { in_flight: None, ..self.clone() };
        Ok(Settled {
            obligation: landed.deferred(failure.why, failure.problem, now),
            payout: Payout {
                state: PayoutState::Failed { reason: failure.reason.to_owned() },
                updated_at: now,
                ..payout.clone()
            },
            transfers: Vec::new(),
        })
    }

    /// The operator has settled `amount` of what is due otherwise: it was paid by other means (`kind` is
    /// [`TransferKind::RefundSettled`], to `operator`), or it will never be claimed (`kind` is [`TransferKind::RefundForfeited`], to
    /// `revenue`). `key` makes the transfer unique.
    ///
    /// # Errors
    /// [`PayoutError::InFlight`], [`PayoutError::NothingDue`], [`PayoutError::TooMuch`].
    pub fn settled_by_operator(
        &self,
        amount: Sats,
        kind: TransferKind,
        key: TransferKey,
        now: Timestamp,
    ) -> Result<(Self, Transfer), PayoutError> {
        if let Some(hash) = self.in_flight {
            return Err(PayoutError::InFlight(hash));
        }
        if self.due.is_zero() || amount.is_zero() {
            return Err(PayoutError::NothingDue);
        }
        if amount > self.due {
            return Err(PayoutError::TooMuch { due: self.due, amount });
        }
        let due = minus(self.due, amount)?;
        let credit = match kind {
            TransferKind::RefundForfeited => AccountId::Revenue,
            _ => AccountId::Operator,
        };
        let transfer = Transfer {
            key,
            debit: AccountId::RefundsDue,
            credit,
            amount: amount.to_msats(),
            kind,
            reference: self.reference(),
            created_at: now,
        };
        Ok((Self { due, updated_at: now, ..self.clone() }, transfer))
    }

    /// All that is due is credited to the session that the customer has named.
    ///
    /// # Errors
    /// [`PayoutError::InFlight`], [`PayoutError::Destination`] when the customer has named another destination, [`PayoutError::NothingDue`].
    pub fn credited(&self, session: Uuid, now: Timestamp) -> Result<(Self, Transfer), PayoutError> {
        if let Some(hash) = self.in_flight {
            return Err(PayoutError::InFlight(hash));
        }
        if self.destination != Some(Destination::Session(session)) {
            return Err(PayoutError::Destination);
        }
        if self.due.is_zero() {
            return Err(PayoutError::NothingDue);
        }
        let transfer = Transfer {
            // More can only be due again once more was accrued.
            key: TransferKey::new(format!("refund_credited:{}:{}", self.account, self.accrued.get())),
            debit: AccountId::RefundsDue,
            credit: AccountId::Session(session),
            amount: self.due.to_msats(),
            kind: TransferKind::RefundCredited,
            reference: self.reference(),
            created_at: now,
        };
        let credited = Self { due: Sats::ZERO, failures: 0, problem: None, updated_at: now, ..self.clone() };
        Ok((credited, transfer))
    }

    /// The id of what the obligation is for, such as the job.
    #[must_use]
    pub const fn reference(&self) -> Uuid {
        match self.account {
            AccountId::Job(id)
            | AccountId::Session(id)
            | AccountId::Bootstrap(id)
            | AccountId::Owned(_, id) => id,
            _ => Uuid::nil(),
        }
    }
}

fn minus(sats: Sats, less: Sats) -> Result<Sats, MoneyError> {
    Ok(sats.to_msats().checked_sub(less.to_msats())?.to_sats_rounding_down())
}
