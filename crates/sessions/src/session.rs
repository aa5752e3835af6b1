//! The session.

use crate::{SessionId, SessionKind, UsageLevel, Warned, WebhookUrl};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::{MoneyError, Msats, Sats};
use tithe_payouts::LightningAddress;
use tithe_paywall::RequestDigest;
use tithe_trust::NostrPubkey;

/// Why a session ended, and what of its balance is owed to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionEnd {
    /// What is owed to the customer so far. It grows when a payment comes late, and when a request ends that was running at the end.
    pub refund: Sats,
    /// Fractions of a sat that no payment can carry.
    pub rounding: Msats,
}

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SessionState {
    /// The deposit is not paid, or its invoice is still to be made.
    AwaitingPayment,
    /// The balance can be spent.
    Active,
    /// The customer has closed the session.
    Closed(SessionEnd),
    /// The deposit was not paid in time, or the session was not used for too long.
    Expired(SessionEnd),
}

/// The name of a state, as used by the API and the stores. The stores know no `exhausted`: that follows from the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StateName {
    /// The deposit is not paid.
    AwaitingPayment,
    /// The balance can be spent.
    Active,
    /// The balance is too low for any request; a top-up makes the session active again.
    Exhausted,
    /// The customer has closed the session.
    Closed,
    /// The deposit was not paid in time, or the session was not used for too long.
    Expired,
}

impl StateName {
    /// All state names.
    pub const ALL: [Self; 5] =
        [Self::AwaitingPayment, Self::Active, Self::Exhausted, Self::Closed, Self::Expired];

    /// The name as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "awaiting_payment",
            Self::Active => "active",
            Self::Exhausted => "exhausted",
            Self::Closed => "closed",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no state of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown session state: {0:?}")]
pub struct UnknownState(String);

impl FromStr for StateName {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// Why a session does not take a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The step needs an active session.
    #[error("the session is {0}")]
    NotActive(StateName),
    /// A top-up is unpaid already.
    #[error("a top-up is waiting to be paid already")]
    TopUpPending(PaymentHash),
    /// The session has its deposit invoice already.
    #[error("the session has an invoice for its deposit already")]
    DepositInvoiced,
    /// The session was used, or paid, in the meantime.
    #[error("the session's time is not over")]
    NotOver,
    /// The session pays for one request, and the step is one of prepaid sessions only.
    #[error("wrong kind of session: expected a prepaid one, got one that pays for one request")]
    OneRequestOnly,
    /// The session pays for many requests, and the step is one of sessions that pay for one request only.
    #[error("wrong kind of session: expected one that pays for one request, got one that pays for many")]
    Prepaid,
    /// The session is one of the scheme `Payment`, and the step is one of prepaid sessions only.
    #[error("wrong kind of session: expected a prepaid one, got one of the scheme Payment")]
    PaymentScheme,
    /// The session is not one of the scheme `Payment`, and the step is one of those only.
    #[error("wrong kind of session: expected one of the scheme Payment")]
    NotPaymentScheme,
    /// The deposit is not opened, so that nothing can be paid from it.
    #[error("the deposit is not opened: expected an open session")]
    NotOpened,
    /// The deposit was opened before, with another return invoice; or it has topped a session up.
    #[error("the deposit was used before: expected one that was not, or the same use again")]
    DepositUsed,
    /// The session pays for one request, and this is another one.
    #[error(
        "the payment is for another request: expected the same method, URL, payer and body as when the price was quoted"
    )]
    AnotherRequest,
    /// An amount is too large to express.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What a new session is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The session's id.
    pub id: SessionId,
    /// What the session pays for.
    pub kind: SessionKind,
    /// The deposit that is to be paid; for one request its price.
    pub deposit: Sats,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// Where its owner wants warnings.
    pub webhook: Option<WebhookUrl>,
    /// Where the customer wants what is left at the end.
    pub return_to: Option<LightningAddress>,
    /// The time.
    pub created_at: Timestamp,
}

/// A session. Its balance is the account `session:<id>` of the ledger.
///
/// One that pays for one request ([`SessionKind::OneRequest`]) is like any other, but for this: it has no top-ups and no webhook, does
/// no other request, and is closed by the answer; what the request has not cost is refunded.
///
/// One of the scheme `Payment` ([`SessionKind::Payment`]) has no macaroon, no webhook and no top-up invoices. Its deposit pays for nothing
/// until it is [opened](Session::opened), or [tops another session up](Session::topping_up).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Session {
    /// The session's id.
    pub id: SessionId,
    /// What the session pays for.
    #[cfg_attr(feature = "serde", serde(default))]
    pub kind: SessionKind,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The deposit that was asked for; for one request its price.
    pub deposit: Sats,
    /// The state.
    pub state: SessionState,
    /// The payment hash of the deposit's invoice; `None` until the invoice exists.
    pub deposit_invoice: Option<PaymentHash>,
    /// The payment hash of the top-up that is unpaid.
    pub pending_top_up: Option<PaymentHash>,
    /// How many top-up invoices the session has had.
    pub top_ups: u32,
    /// Everything that was ever paid in.
    pub paid_in: Msats,
    /// The balance after the last payment: of this, warnings tell the owner how much is used.
    pub topped_up_to: Msats,
    /// Where its owner wants warnings.
    pub webhook: Option<WebhookUrl>,
    /// Where the customer wants what is left at the end.
    pub return_to: Option<LightningAddress>,
    /// How much of the balance is used, and how much of that the owner was told.
    pub warned: Warned,
    /// When the session was last paid for or used, to about a minute.
    pub last_used_at: Timestamp,
    /// When the session was created.
    pub created_at: Timestamp,
    /// When the session last changed.
    pub updated_at: Timestamp,
}

/// How exactly it is known when a session was last used: so not every request changes its row.
const USE_KNOWN_TO: Duration = Duration::from_mins(1);

impl Session {
    /// A new session, without an invoice.
    #[must_use]
    pub fn new(new: NewSession) -> Self {
        let NewSession { id, kind, deposit, identity, webhook, return_to, created_at } = new;
        Self {
            id,
            kind,
            identity,
            deposit,
            state: SessionState::AwaitingPayment,
            deposit_invoice: None,
            pending_top_up: None,
            top_ups: 0,
            paid_in: Msats::ZERO,
            topped_up_to: Msats::ZERO,
            webhook,
            return_to,
            warned: Warned::default(),
            last_used_at: created_at,
            created_at,
            updated_at: created_at,
        }
    }

    /// The name of the state, with what is available of the balance and the least that a request needs.
    #[must_use]
    pub fn state_name(&self, available: Msats, minimum: Msats) -> StateName {
        match self.state {
            SessionState::AwaitingPayment => StateName::AwaitingPayment,
            SessionState::Active if available < minimum => StateName::Exhausted,
            SessionState::Active => StateName::Active,
            SessionState::Closed(_) => StateName::Closed,
            SessionState::Expired(_) => StateName::Expired,
        }
    }

    /// The name of the state, whatever the balance: an exhausted session is active.
    #[must_use]
    pub fn stored_state_name(&self) -> StateName {
        self.state_name(Msats::ZERO, Msats::ZERO)
    }

    /// How the session has ended; `None` while it has not.
    #[must_use]
    pub const fn end(&self) -> Option<SessionEnd> {
        match self.state {
            SessionState::Closed(end) | SessionState::Expired(end) => Some(end),
            SessionState::AwaitingPayment | SessionState::Active => None,
        }
    }

    /// What was charged so far, with this balance.
    #[must_use]
    pub fn spent(&self, balance: Msats) -> Msats {
        let SessionEnd { refund, rounding } = self.end().unwrap_or_default();
        self.paid_in.saturating_sub(balance).saturating_sub(refund.to_msats()).saturating_sub(rounding)
    }

    /// The customer names another address for what is left at the end.
    #[must_use]
    pub fn returning_to(&self, address: LightningAddress, now: Timestamp) -> Self {
        if self.return_to.as_ref() == Some(&address) {
            return self.clone();
        }
        Self { return_to: Some(address), updated_at: now, ..self.clone() }
    }

    /// Checks that requests may be charged to the session.
    ///
    /// # Errors
    /// [`SessionError::NotActive`].
    pub fn check_active(&self) -> Result<(), SessionError> {
        match self.state {
            SessionState::Active => Ok(()),
            _ => Err(SessionError::NotActive(self.stored_state_name())),
        }
    }

    /// The deposit has its invoice.
    ///
    /// # Errors
    /// [`SessionError::DepositInvoiced`], [`SessionError::NotActive`] when the session was abandoned meanwhile.
    pub fn deposit_invoiced(&self, invoice: PaymentHash, now: Timestamp) -> Result<Self, SessionError> {
        match (self.state, self.deposit_invoice) {
            (_, Some(_)) => Err(SessionError::DepositInvoiced),
            (SessionState::AwaitingPayment, None) => {
                Ok(Self { deposit_invoice: Some(invoice), ..self.moved(now) })
            }
            _ => Err(SessionError::NotActive(self.stored_state_name())),
        }
    }

    /// A top-up has its invoice. One may be unpaid at a time.
    ///
    /// # Errors
    /// As [`Session::check_top_up`].
    pub fn top_up_invoiced(&self, invoice: PaymentHash, now: Timestamp) -> Result<Self, SessionError> {
        self.check_top_up()?;
        let top_ups = self.top_ups.saturating_add(1);
        Ok(Self { pending_top_up: Some(invoice), top_ups, ..self.moved(now) })
    }

    /// A pending top-up makes way for another one. It is credited if it is paid all the same.
    #[must_use]
    pub fn top_up_dropped(&self, invoice: PaymentHash, now: Timestamp) -> Self {
        let pending_top_up = self.pending_top_up.filter(|pending| *pending != invoice);
        Self { pending_top_up, ..self.moved(now) }
    }

    /// Checks that the session pays for this request: any request (`None`), or only the one of this digest.
    ///
    /// # Errors
    /// [`SessionError::AnotherRequest`], [`SessionError::OneRequestOnly`], [`SessionError::Prepaid`], [`SessionError::NotOpened`].
    pub fn check_request(&self, digest: Option<RequestDigest>) -> Result<(), SessionError> {
        match (&self.kind, digest) {
            (SessionKind::Payment(payment), None) if payment.return_invoice.is_none() => {
                Err(SessionError::NotOpened)
            }
            (SessionKind::Prepaid | SessionKind::Payment(_), None) => Ok(()),
            (SessionKind::OneRequest(one), Some(digest)) if one.digest == digest => Ok(()),
            (SessionKind::OneRequest(_), Some(_)) => Err(SessionError::AnotherRequest),
            (SessionKind::OneRequest(_), None) => Err(SessionError::OneRequestOnly),
            (SessionKind::Prepaid | SessionKind::Payment(_), Some(_)) => Err(SessionError::Prepaid),
        }
    }

    /// Checks that a top-up may be asked for.
    ///
    /// # Errors
    /// [`SessionError::OneRequestOnly`], [`SessionError::PaymentScheme`], [`SessionError::NotActive`], [`SessionError::TopUpPending`].
    pub fn check_top_up(&self) -> Result<(), SessionError> {
        self.check_credit()?;
        self.pending_top_up.map_or(Ok(()), |pending| Err(SessionError::TopUpPending(pending)))
    }

    /// A payment has arrived, in time or late, in full or short: it is credited as it is. An unpaid or expired deposit makes the
    /// session active; only a session that had been paid for stays ended, and the payment is refunded.
    ///
    /// # Errors
    /// [`SessionError::Money`].
    pub fn paid(&self, invoice: PaymentHash, amount: Msats, now: Timestamp) -> Result<Self, SessionError> {
        let state = match self.state {
            SessionState::AwaitingPayment => SessionState::Active,
            SessionState::Expired(_) if self.paid_in.is_zero() => SessionState::Active,
            other => other,
        };
        Ok(Self {
            state,
            paid_in: self.paid_in.checked_add(amount)?,
            pending_top_up: self.pending_top_up.filter(|pending| *pending != invoice),
            last_used_at: now,
            ..self.moved(now)
        })
    }

    /// A refund that is due to its customer is credited to this session, which must be active.
    ///
    /// # Errors
    /// [`SessionError::OneRequestOnly`], [`SessionError::PaymentScheme`], [`SessionError::NotActive`], [`SessionError::Money`].
    pub fn credited(&self, amount: Msats, now: Timestamp) -> Result<Self, SessionError> {
        self.check_credit()?;
        Ok(Self { paid_in: self.paid_in.checked_add(amount)?, last_used_at: now, ..self.moved(now) })
    }

    /// Checks that a refund may be credited to the session.
    ///
    /// # Errors
    /// As [`Self::credited`], but for the amount.
    pub fn check_credit(&self) -> Result<(), SessionError> {
        match self.kind {
            SessionKind::Prepaid => self.check_active(),
            SessionKind::OneRequest(_) => Err(SessionError::OneRequestOnly),
            SessionKind::Payment(_) => Err(SessionError::PaymentScheme),
        }
    }

    /// An invoice has expired unpaid: a deposit's ends the session, a top-up's makes room for another.
    #[must_use]
    pub fn invoice_expired(&self, invoice: PaymentHash, now: Timestamp) -> Self {
        let ends =
            matches!(self.state, SessionState::AwaitingPayment) && self.deposit_invoice == Some(invoice);
        let state = if ends { SessionState::Expired(SessionEnd::default()) } else { self.state };
        let pending_top_up = self.pending_top_up.filter(|pending| *pending != invoice);
        Self { state, pending_top_up, ..self.moved(now) }
    }

    /// The deposit never got an invoice.
    ///
    /// # Errors
    /// [`SessionError::DepositInvoiced`], [`SessionError::NotActive`] when the session has ended.
    pub fn abandoned(&self, now: Timestamp) -> Result<Self, SessionError> {
        match (self.state, self.deposit_invoice) {
            (_, Some(_)) => Err(SessionError::DepositInvoiced),
            (SessionState::AwaitingPayment, None) => {
                Ok(Self { state: SessionState::Expired(SessionEnd::default()), ..self.moved(now) })
            }
            _ => Err(SessionError::NotActive(self.stored_state_name())),
        }
    }

    /// The session is used now. The same session if that is known already.
    #[must_use]
    pub fn used(&self, now: Timestamp) -> Self {
        if now.since(self.last_used_at) < USE_KNOWN_TO {
            return self.clone();
        }
        Self { last_used_at: now, ..self.moved(now) }
    }

    /// The session after a payment, with this balance: nothing of it is used.
    #[must_use]
    pub fn topped_up(&self, balance: Msats) -> Self {
        Self { topped_up_to: balance, warned: Warned::default(), ..self.clone() }
    }

    /// The session with this balance. The same session if nobody wants warnings, it has ended, or the level is what it was.
    #[must_use]
    pub fn observed(&self, balance: Msats) -> Self {
        if self.webhook.is_none() || self.end().is_some() {
            return self.clone();
        }
        let used = self.topped_up_to.saturating_sub(balance);
        let level = UsageLevel::of_amount(used, self.topped_up_to);
        Self { warned: self.warned.observed(level), ..self.clone() }
    }

    /// Distinguishes the balance since the last payment from those before.
    #[must_use]
    pub fn warning_occasion(&self) -> i64 {
        self.paid_in.to_i64()
    }

    /// When the session expires if nobody uses it.
    #[must_use]
    pub fn expires_at(&self, idle: Duration) -> Timestamp {
        self.last_used_at + idle
    }

    /// The customer closes the session. Closing again changes nothing.
    ///
    /// # Errors
    /// [`SessionError::NotActive`] when the session was never paid for, or has expired.
    pub fn closed(&self, now: Timestamp) -> Result<Self, SessionError> {
        match self.state {
            SessionState::Active => {
                let state = SessionState::Closed(SessionEnd::default());
                Ok(Self { state, warned: Warned::default(), ..self.moved(now) })
            }
            SessionState::Closed(_) => Ok(self.clone()),
            _ => Err(SessionError::NotActive(self.stored_state_name())),
        }
    }

    /// Nobody has used the session for `idle`.
    ///
    /// # Errors
    /// [`SessionError::NotOver`] when it was used meanwhile, [`SessionError::NotActive`].
    pub fn expired_idle(&self, idle: Duration, now: Timestamp) -> Result<Self, SessionError> {
        self.check_active()?;
        if now < self.expires_at(idle) {
            return Err(SessionError::NotOver);
        }
        let state = SessionState::Expired(SessionEnd::default());
        Ok(Self { state, warned: Warned::default(), ..self.moved(now) })
    }

    /// More of the balance of an ended session is owed to the customer.
    ///
    /// # Errors
    /// [`SessionError::NotActive`] when the session has not ended, [`SessionError::Money`].
    pub fn refunded(&self, refund: Sats, rounding: Msats, now: Timestamp) -> Result<Self, SessionError> {
        let add = |end: SessionEnd| -> Result<SessionEnd, SessionError> {
            let refund = end.refund.to_msats().checked_add(refund.to_msats())?.to_sats_rounding_down();
            Ok(SessionEnd { refund, rounding: end.rounding.checked_add(rounding)? })
        };
        let state = match self.state {
            SessionState::Closed(end) => SessionState::Closed(add(end)?),
            SessionState::Expired(end) => SessionState::Expired(add(end)?),
            _ => return Err(SessionError::NotActive(self.stored_state_name())),
        };
        Ok(Self { state, ..self.moved(now) })
    }

    fn moved(&self, now: Timestamp) -> Self {
        Self { updated_at: now, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OneRequest, RequestTerms};
    use tithe_money::{BasisPoints, BtcPrice, UsdMicros};
    use tithe_pricing::{BtcQuote, Terms};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const IDLE: Duration = Duration::from_hours(1);

    fn hash(n: u8) -> PaymentHash {
        format!("{n:02x}").repeat(32).parse().unwrap()
    }

    fn msats(n: u64) -> Msats {
        Msats::new(n).unwrap()
    }

    fn new() -> Session {
        let new = NewSession {
            id: SessionId(Uuid::nil()),
            kind: SessionKind::Prepaid,
            deposit: Sats::new(500).unwrap(),
            identity: None,
            webhook: None,
            return_to: None,
            created_at: NOW,
        };
        Session::new(new)
    }

    fn active() -> Session {
        new().deposit_invoiced(hash(1), NOW).unwrap().paid(hash(1), msats(500_000), NOW).unwrap()
    }

    #[test]
    fn a_paid_deposit_makes_a_session_active_also_when_it_comes_late_or_short() {
        let invoiced = new().deposit_invoiced(hash(1), NOW).unwrap();
        assert_eq!(invoiced.deposit_invoiced(hash(2), NOW), Err(SessionError::DepositInvoiced));
        let expired = invoiced.invoice_expired(hash(1), NOW);
        assert_eq!(expired.stored_state_name(), StateName::Expired);
        for unpaid in [invoiced, expired] {
            assert!(unpaid.check_active().is_err());
            let paid = unpaid.paid(hash(1), msats(499_000), NOW).unwrap();
            assert_eq!((paid.check_active(), paid.paid_in), (Ok(()), msats(499_000)));
        }
    }

    #[test]
    fn a_session_that_was_paid_for_stays_ended() {
        let expired = active().expired_idle(IDLE, NOW + IDLE).unwrap();
        for ended in [active().closed(NOW).unwrap(), expired] {
            let late = ended.paid(hash(2), msats(1_000), NOW).unwrap();
            assert!(late.end().is_some());
            assert_eq!(late.paid_in, msats(501_000));
            let refunded = late.refunded(Sats::new(501).unwrap(), msats(0), NOW).unwrap();
            assert_eq!(refunded.end().unwrap().refund.get(), 501);
        }
    }

    #[test]
    fn one_top_up_is_pending_at_a_time() {
        let session = active().top_up_invoiced(hash(2), NOW).unwrap();
        assert_eq!(session.top_up_invoiced(hash(3), NOW), Err(SessionError::TopUpPending(hash(2))));
        assert_eq!(session.invoice_expired(hash(9), NOW).pending_top_up, Some(hash(2)));
        for free in [session.invoice_expired(hash(2), NOW), session.paid(hash(2), msats(1), NOW).unwrap()] {
            assert_eq!((free.pending_top_up, free.top_ups), (None, 1));
            assert_eq!(free.check_active(), Ok(()));
        }
        assert_eq!(new().check_top_up(), Err(SessionError::NotActive(StateName::AwaitingPayment)));
    }

    #[test]
    fn a_top_up_that_made_way_is_credited_if_it_is_paid() {
        let session = active().top_up_invoiced(hash(2), NOW).unwrap();
        assert_eq!(session.top_up_dropped(hash(9), NOW).pending_top_up, Some(hash(2)));
        let replaced = session.top_up_dropped(hash(2), NOW).top_up_invoiced(hash(3), NOW).unwrap();
        let paid = replaced.paid(hash(2), msats(7_000), NOW).unwrap();
        assert_eq!((paid.pending_top_up, paid.paid_in), (Some(hash(3)), msats(507_000)));
    }

    #[test]
    fn what_is_exhausted_follows_from_the_balance() {
        let session = active();
        assert_eq!(session.state_name(msats(9), msats(10)), StateName::Exhausted);
        assert_eq!(session.state_name(msats(10), msats(10)), StateName::Active);
        assert_eq!(session.spent(msats(480_000)), msats(20_000));
        let closed = session.closed(NOW).unwrap().refunded(Sats::new(479).unwrap(), msats(500), NOW).unwrap();
        assert_eq!(closed.state_name(msats(0), msats(10)), StateName::Closed);
        assert_eq!(closed.spent(msats(0)), msats(20_500));
    }

    #[test]
    fn only_an_unused_session_expires() {
        let used = active().used(NOW + IDLE / 2);
        assert_eq!(used.expired_idle(IDLE, NOW + IDLE), Err(SessionError::NotOver));
        assert!(used.expired_idle(IDLE, NOW + IDLE / 2 + IDLE).is_ok());
        // Not every request changes the session.
        let again = used.used(NOW + IDLE / 2 + Duration::from_secs(59));
        assert_eq!(again, used);
        let closed = used.closed(NOW).unwrap();
        assert_eq!(
            closed.expired_idle(IDLE, NOW + IDLE * 9),
            Err(SessionError::NotActive(StateName::Closed))
        );
        assert_eq!(closed.closed(NOW), Ok(closed.clone()), "closing again changes nothing");
        assert_eq!(new().closed(NOW), Err(SessionError::NotActive(StateName::AwaitingPayment)));
    }

    fn one_request(digest: u8) -> Session {
        let btc = BtcQuote { price: BtcPrice::parse("100000").unwrap(), as_of: NOW };
        let prices = Terms { margin: BasisPoints::ZERO, fixed_cost: UsdMicros::ZERO, btc };
        let terms = RequestTerms { model: "sim-small".to_owned(), output_tokens: 9, prices, call: None };
        let one = OneRequest { digest: RequestDigest::from_bytes([digest; 32]), terms };
        Session { kind: SessionKind::OneRequest(Box::new(one)), ..active() }
    }

    #[test]
    fn a_session_of_one_request_pays_for_no_other_and_a_prepaid_one_for_any() {
        let digest = |n| Some(RequestDigest::from_bytes([n; 32]));
        assert_eq!(one_request(1).check_request(digest(1)), Ok(()));
        assert_eq!(one_request(1).check_request(digest(2)), Err(SessionError::AnotherRequest));
        assert_eq!(one_request(1).check_request(None), Err(SessionError::OneRequestOnly));
        assert_eq!(active().check_request(None), Ok(()));
        assert_eq!(active().check_request(digest(1)), Err(SessionError::Prepaid));
    }

    #[test]
    fn a_session_of_one_request_takes_no_top_up() {
        let session = one_request(1);
        assert_eq!(session.check_top_up(), Err(SessionError::OneRequestOnly));
        assert_eq!(session.top_up_invoiced(hash(2), NOW), Err(SessionError::OneRequestOnly));
    }

    #[test]
    fn names_read_back() {
        for name in StateName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert!("open".parse::<StateName>().is_err());
    }
}
