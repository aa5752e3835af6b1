//! A deposit that is offered.

use crate::sessions::request_offers::Offer;
use std::time::Duration;
use tithe_lightning::Invoice;
use tithe_money::Sats;
use tithe_sessions::SessionId;

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

impl Offer for OfferedDeposit {
    fn session(&self) -> SessionId {
        self.session
    }

    fn invoice(&self) -> &Invoice {
        &self.invoice
    }
}
