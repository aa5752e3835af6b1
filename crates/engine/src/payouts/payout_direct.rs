//! The customer names a destination.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::AccountId;
use tithe_lightning::Network;
use tithe_payouts::{Destination, FeePolicy, Obligation, PayoutError};
use tithe_sessions::SessionId;

/// Sets where what is owed to a customer is paid. Naming the same destination again changes nothing. Returns the obligation.
#[derive(Debug, Clone)]
pub struct PayoutDirect {
    /// The account of the obligation.
    pub account: AccountId,
    /// The destination.
    pub destination: Destination,
    /// What the routing fee may be.
    pub fees: FeePolicy,
    /// The network that the wallet is on.
    pub network: Network,
}

impl Command for PayoutDirect {
    type Reply = Box<Obligation>;
    const NAME: &'static str = "payout_direct";

    fn declare(&self, keys: &mut RowKeys) {
        keys.obligations.insert(self.account);
        keys.declare_destination(&self.destination);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Obligation>, Refusal> {
        books.payout_direct(self.account, &self.destination, &self.fees, self.network).map(Box::new)
    }
}

impl RowKeys {
    /// What must be known of a destination when it is named.
    pub(crate) fn declare_destination(&mut self, destination: &Destination) {
        match destination {
            Destination::Invoice(request) => {
                self.payouts.insert(request.payment_hash());
            }
            Destination::Session(id) => {
                self.sessions.insert(SessionId(*id));
            }
            Destination::Address(_) => {}
        }
    }
}

impl Books<'_> {
    /// Sets where what is owed to the customer of `account` is paid.
    pub(crate) fn payout_direct(
        &mut self,
        account: AccountId,
        destination: &Destination,
        fees: &FeePolicy,
        network: Network,
    ) -> Result<Obligation, Refusal> {
        let owed = self.obligation(account)?;
        let used = match destination {
            Destination::Invoice(request) => self.rows.payouts.get(&request.payment_hash())?.cloned(),
            Destination::Address(_) | Destination::Session(_) => None,
        };
        let directed = owed.direct(destination, used.as_ref(), fees, network, self.now())?;
        if directed != owed {
            if let Destination::Session(id) = destination {
                let session = self.session_to_credit(*id)?;
                session.check_credit().map_err(|wrong| PayoutError::Session(wrong.to_string()))?;
            }
            self.rows.obligations.put(directed.clone())?;
        }
        Ok(directed)
    }
}
