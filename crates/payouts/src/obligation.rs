//! What is owed to a customer.

use crate::payout::{Payout, PayoutState};
use crate::{Destination, FeePolicy, PayoutError};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::AccountId;
use tithe_lightning::{Bolt11, Bolt11Mismatch, ExpectedInvoice, Network, PaymentHash, PaymentId};
use tithe_money::{MoneyError, Sats};

/// How long an invoice must be payable when the customer names it, and when it is paid.
const NAMED_LIFE_MIN: Duration = Duration::from_mins(1);
const PAID_LIFE_MIN: Duration = Duration::from_secs(10);

/// How long the next attempt waits after a failure: at first, and at most.
const REST_FIRST: Duration = Duration::from_secs(15);
const REST_MAX: Duration = Duration::from_hours(6);
const OUR_REST_MAX: Duration = Duration::from_mins(5);

/// How many failures of one invoice are enough to ask the customer for another one.
const INVOICE_FAILURES_MAX: u32 = 6;

/// The state of an obligation, as customers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObligationState {
    /// Nothing was ever owed.
    NotApplicable,
    /// Something is due, and no payment is in flight.
    Pending,
    /// A payment is in flight.
    Paying,
    /// Everything was paid.
    Paid,
}

impl ObligationState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::NotApplicable, Self::Pending, Self::Paying, Self::Paid];

    /// The name used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::Pending => "pending",
            Self::Paying => "paying",
            Self::Paid => "paid",
        }
    }
}

/// What is owed to the customer whose account this was. It is never deleted, and never becomes revenue unless the operator says so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Obligation {
    /// The account that the money came from, which identifies the obligation: `job:<id>`, `session:<id>`, ….
    pub account: AccountId,
    /// Everything that was ever owed.
    pub accrued: Sats,
    /// What is owed still, with what is in flight.
    pub due: Sats,
    /// Where the customer wants to be paid.
    pub destination: Option<Destination>,
    /// The payout that is in flight. There is at most one (invariant I6).
    pub in_flight: Option<PaymentHash>,
    /// The last payout that succeeded.
    pub last_paid: Option<PaymentHash>,
    /// How many attempts at this destination have failed in a row.
    pub failures: u32,
    /// When the next attempt may be made.
    pub next_try_at: Timestamp,
    /// Why the last attempt failed, for the customer.
    pub problem: Option<String>,
    /// When the obligation was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A payout that is about to be made.
#[derive(Debug)]
pub struct NewPayout<'a> {
    /// The invoice: the customer's own, or one of the customer's address.
    pub request: &'a Bolt11,
    /// Our id of the attempt.
    pub id: PaymentId,
    /// What is known of this payment hash.
    pub before: Option<&'a Payout>,
    /// The network that the wallet is on.
    pub network: Network,
}

/// Why nothing is paid for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// Our side is not ready: it does not count as a failure.
    Ours,
    /// The destination does not work at the moment.
    Unavailable,
    /// The destination can never be paid. It is forgotten: the customer must name another one.
    Refused,
}

impl Obligation {
    /// An obligation of nothing yet.
    #[must_use]
    pub const fn open(account: AccountId, now: Timestamp) -> Self {
        Self {
            account,
            accrued: Sats::ZERO,
            due: Sats::ZERO,
            destination: None,
            in_flight: None,
            last_paid: None,
            failures: 0,
            next_try_at: now,
            problem: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// The state, as customers see it.
    #[must_use]
    pub const fn state(&self) -> ObligationState {
        match (self.in_flight, self.due.is_zero(), self.accrued.is_zero()) {
            (Some(_), ..) => ObligationState::Paying,
            (None, false, _) => ObligationState::Pending,
            (None, true, true) => ObligationState::NotApplicable,
            (None, true, false) => ObligationState::Paid,
        }
    }

    /// The payment that was made last, or is in flight.
    #[must_use]
    pub fn payment_hash(&self) -> Option<PaymentHash> {
        self.in_flight.or(self.last_paid)
    }

    /// More is owed.
    ///
    /// # Errors
    /// [`MoneyError`] if it is more than can exist.
    pub fn accrue(&self, amount: Sats, now: Timestamp) -> Result<Self, MoneyError> {
        let plus = |sats: Sats| {
            Ok::<_, MoneyError>(sats.to_msats().checked_add(amount.to_msats())?.to_sats_rounding_down())
        };
        let (accrued, due) = (plus(self.accrued)?, plus(self.due)?);
        Ok(Self { accrued, due, next_try_at: now, updated_at: now, ..self.clone() })
    }

    /// The customer says where to pay to. Naming the same destination again changes nothing; that includes one that is being paid, or was.
    ///
    /// `used` is what is known of the payment hash of the invoice.
    ///
    /// # Errors
    /// [`PayoutError::NothingDue`], [`PayoutError::Dust`], [`PayoutError::InFlight`], [`PayoutError::Invoice`],
    /// [`PayoutError::Used`].
    pub fn direct(
        &self,
        destination: &Destination,
        used: Option<&Payout>,
        fees: &FeePolicy,
        network: Network,
        now: Timestamp,
    ) -> Result<Self, PayoutError> {
        let is_paid = |hash: PaymentHash| self.due.is_zero() && self.last_paid == Some(hash);
        let is_repeated = match destination {
            Destination::Invoice(request) if is_paid(request.payment_hash()) => true,
            _ => self.destination.as_ref() == Some(destination) && !self.accrued.is_zero(),
        };
        if is_repeated {
            return Ok(self.clone());
        }
        if let Some(hash) = self.in_flight {
            return Err(PayoutError::InFlight(hash));
        }
        if self.due.is_zero() {
            return Err(PayoutError::NothingDue);
        }
        match destination {
            Destination::Invoice(request) => {
                let quote = fees.quote(self.due)?.payable()?;
                check(request, quote.payable, network, now + NAMED_LIFE_MIN)?;
                self.check_unused(request, used)?;
            }
            Destination::Address(_) => {
                fees.quote(self.due)?.payable()?;
            }
            Destination::Session(_) => {}
        }
        Ok(self.directed(destination.clone(), now))
    }

    /// The customer says in advance where to pay to, before it is known what will be due.
    ///
    /// # Errors
    /// [`PayoutError::InAdvance`] for an invoice: its amount cannot be right, and it would expire; and for a session, which may have ended by
    /// then.
    pub fn direct_in_advance(&self, destination: &Destination, now: Timestamp) -> Result<Self, PayoutError> {
        match destination {
            Destination::Address(_) => Ok(self.directed(destination.clone(), now)),
            Destination::Invoice(_) | Destination::Session(_) => Err(PayoutError::InAdvance),
        }
    }

    /// What is due is paid to an invoice that the customer named in advance, which must have no amount. The same obligation if there is
    /// another destination already, nothing is due, or the invoice was paid: it can be paid once. Whether it has expired is checked when
    /// it is paid.
    #[must_use]
    pub fn direct_to_return_invoice(&self, request: Bolt11, now: Timestamp) -> Self {
        let is_used = self.payment_hash() == Some(request.payment_hash());
        if self.destination.is_some() || self.due.is_zero() || is_used || request.amount().is_some() {
            return self.clone();
        }
        self.directed(Destination::Invoice(Box::new(request)), now)
    }

    fn directed(&self, destination: Destination, now: Timestamp) -> Self {
        Self {
            destination: Some(destination),
            failures: 0,
            problem: None,
            next_try_at: now,
            updated_at: now,
            ..self.clone()
        }
    }

    /// A payout begins: from now on the wallet may be paying. The caller commits this before the wallet is called.
    ///
    /// # Errors
    /// [`PayoutError`].
    pub fn begin(
        &self,
        new: &NewPayout<'_>,
        fees: &FeePolicy,
        now: Timestamp,
    ) -> Result<(Self, Payout), PayoutError> {
        let NewPayout { request, id, before, network } = *new;
        if let Some(hash) = self.in_flight {
            return Err(PayoutError::InFlight(hash));
        }
        match &self.destination {
            Some(Destination::Address(_)) => {}
            Some(Destination::Invoice(named)) if **named == *request => {}
            _ => return Err(PayoutError::Destination),
        }
        let quote = fees.quote(self.due)?.payable()?;
        check(request, quote.payable, network, now + PAID_LIFE_MIN)?;
        self.check_unused(request, before)?;
        let hash = request.payment_hash();
        let payout = Payout {
            payment_hash: hash,
            id,
            account: self.account,
            payment_request: request.as_str().to_owned(),
            amount: quote.payable,
            fee_limit: quote.fee_limit,
            state: PayoutState::Paying { since: now },
            attempts: before.map_or(1, |before| before.attempts.saturating_add(1)),
            looks: 0,
            next_look_at: now,
            created_at: before.map_or(now, |before| before.created_at),
            updated_at: now,
        };
        Ok((Self { in_flight: Some(hash), updated_at: now, ..self.clone() }, payout))
    }

    /// An invoice may be paid again for the same obligation after it has certainly failed, and never for another one.
    fn check_unused(&self, request: &Bolt11, before: Option<&Payout>) -> Result<(), PayoutError> {
        let used = before.is_some_and(|before| {
            before.account != self.account || !matches!(before.state, PayoutState::Failed { .. })
        });
        if used { Err(PayoutError::Used(request.payment_hash())) } else { Ok(()) }
    }

    /// Nothing is paid for now; `problem` is shown to the customer.
    #[must_use]
    pub fn deferred(&self, why: Deferral, problem: &str, now: Timestamp) -> Self {
        let failures = match why {
            Deferral::Ours => self.failures,
            Deferral::Unavailable | Deferral::Refused => self.failures.saturating_add(1),
        };
        let enough = |destination: &Destination| match destination {
            Destination::Invoice(request) => {
                failures >= INVOICE_FAILURES_MAX || request.expires_at() <= now + PAID_LIFE_MIN
            }
            Destination::Address(_) | Destination::Session(_) => false,
        };
        let given_up = why == Deferral::Refused || self.destination.as_ref().is_some_and(enough);
        let rest = match why {
            // Twice as long as the last time.
            Deferral::Ours => {
                let last = self.next_try_at.since(self.updated_at);
                last.saturating_mul(2).clamp(REST_FIRST, OUR_REST_MAX)
            }
            Deferral::Unavailable | Deferral::Refused => {
                let doublings = failures.saturating_sub(1).min(16);
                REST_FIRST.saturating_mul(1 << doublings).min(REST_MAX)
            }
        };
        Self {
            destination: self.destination.clone().filter(|_| !given_up),
            failures,
            problem: Some(problem.to_owned()),
            next_try_at: now + rest,
            updated_at: now,
            ..self.clone()
        }
    }
}

/// Checks an invoice that is to be paid: an invoice without an amount is paid `amount`.
fn check(
    request: &Bolt11,
    amount: Sats,
    network: Network,
    expires_after: Timestamp,
) -> Result<(), PayoutError> {
    let amount = amount.to_msats();
    let expected = ExpectedInvoice { network, amount, payment_hash: None, expires_after };
    match request.check(&expected) {
        // The network is compared before the amount, and the expiry after it.
        Err(Bolt11Mismatch::Amount { found: None, .. }) if request.expires_at() < expires_after => {
            let found = request.expires_at();
            Err(PayoutError::Invoice(Bolt11Mismatch::Expiry { wanted: expires_after, found }))
        }
        Ok(()) | Err(Bolt11Mismatch::Amount { found: None, .. }) => Ok(()),
        Err(mismatch) => Err(PayoutError::Invoice(mismatch)),
    }
}
