//! Offering a session for a deposit.

use super::PaymentSessionError;
use super::offered::OfferedDeposit;
use crate::admission::Origin;
use crate::error::EngineError;
use crate::sessions::Sessions;
use crate::sessions::request_offers::Slot;
use std::sync::Arc;
use tithe_money::Sats;
use tithe_sessions::{NewSession, Session, SessionId, SessionKind};
use tithe_trust::NostrPubkey;

/// How many requests a deposit is for, unless the operator has set it (`draft-lightning-session-00`, "Deposit Amount").
const UNITS: u64 = 20;

/// A request that a session could pay for.
#[derive(Debug, Clone)]
pub struct NewDeposit {
    /// The price of a unit: the most that the request can cost. At least 1 sat.
    pub unit: Sats,
    /// The identity of whoever asks, for the limits of one customer; `None` means anonymous. The session is nobody's: whoever knows a preimage can
    /// use it, and must not use an identity with it.
    pub identity: Option<NostrPubkey>,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub origin: Option<Origin>,
}

impl Sessions {
    /// Offers a session for a deposit, with an invoice of its own each time: of two who are offered the same, each could open what the other
    /// pays.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`] when the wallet could not refund such sessions. [`EngineError::NoWallet`] when the wallet makes no
    /// invoice, or takes too long; [`EngineError::TooManyUnpaid`], [`EngineError::TooManyUnpaidOfYours`]: there is no offer now.
    pub async fn offer_deposit(self: &Arc<Self>, new: NewDeposit) -> Result<OfferedDeposit, EngineError> {
        let deposit = self.deposit_for(new.unit)?;
        let sessions = Arc::clone(self);
        let make = async move { sessions.make_deposit(new, deposit).await };
        self.offered_once(Slot::default(), make).await
    }

    /// Whether there are sessions of the scheme `Payment`: what is left of one is paid to an invoice without an amount.
    #[must_use]
    pub fn offers_deposits(&self) -> bool {
        self.core.ports.wallet.capabilities().amountless_invoices
    }

    /// The deposit of a session that is offered for a request of this price.
    fn deposit_for(&self, unit: Sats) -> Result<Sats, EngineError> {
        let settings = &self.core.settings;
        let (least, most) = (settings.session_payment_min, settings.session_payment_max);
        if unit.is_zero() || unit > most || !self.offers_deposits() {
            return Err(PaymentSessionError::NotOffered.into());
        }
        let set = Some(settings.payment_session_deposit).filter(|sats| !sats.is_zero());
        let automatic = || Sats::new(unit.get().saturating_mul(UNITS)).unwrap_or(most);
        Ok(set.unwrap_or_else(automatic).max(unit).clamp(least, most))
    }

    async fn make_deposit(&self, new: NewDeposit, deposit: Sats) -> Result<OfferedDeposit, EngineError> {
        let NewDeposit { unit, identity, origin } = new;
        let id = SessionId(self.core.new_id());
        let session = Session::new(NewSession {
            id,
            kind: SessionKind::Payment(Box::default()),
            deposit,
            identity: None,
            webhook: None,
            return_to: None,
            created_at: self.core.now(),
        });
        let invoice = self.offer_session(session, identity, origin, None).await?;
        let idle = self.core.settings.payment_session_idle;
        Ok(OfferedDeposit { session: id, unit, deposit, invoice, idle })
    }
}
