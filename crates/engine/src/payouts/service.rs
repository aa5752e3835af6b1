//! The use cases of payouts.

use super::payout_direct::PayoutDirect;
use super::refund_view::RefundView;
use crate::core::Core;
use crate::error::{EngineError, RequestError};
use crate::log;
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tithe_ledger::AccountId;
use tithe_lightning::{Bolt11, PaymentHash};
use tithe_money::Sats;
use tithe_payouts::{AddressError, AddressResolver, Destination, FeePolicy, LightningAddress};
use tokio::sync::Notify;
use tracing::info;

/// Gets no invoices: for a service that pays to no Lightning addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoAddresses;

#[async_trait]
impl AddressResolver for NoAddresses {
    fn check(&self, _address: &LightningAddress) -> Result<(), AddressError> {
        Err(AddressError::Refused { reason: "not supported: expected an invoice".to_owned() })
    }

    async fn invoice(&self, address: &LightningAddress, _amount: Sats) -> Result<Bolt11, AddressError> {
        self.check(address)?;
        Err(AddressError::Unavailable { reason: "not supported".to_owned() })
    }
}

/// The use cases of payouts.
pub struct Payouts {
    pub(super) core: Arc<Core>,
    /// Notified when there may be something to pay.
    pub(super) wake: Notify,
    /// What this server pays or looks up at the moment.
    pub(super) busy: Mutex<HashSet<AccountId>>,
    /// Payouts whose age was reported.
    pub(super) reported: Mutex<HashSet<PaymentHash>>,
}

impl Payouts {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, wake: Notify::new(), busy: Mutex::default(), reported: Mutex::default() }
    }

    /// What the routing fee of a payout may be.
    pub(crate) fn fees(&self) -> FeePolicy {
        self.core.settings.payout_fees
    }

    /// Checks a destination before it is stored: an address of a private network, or an invoice that the wallet cannot pay, is
    /// refused. Connects to nothing.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub(crate) fn check(&self, destination: &Destination) -> Result<(), EngineError> {
        match destination {
            Destination::Address(address) => {
                let checked = self.core.ports.addresses.check(address);
                checked.map_err(|refused| {
                    let problem = refused.reason().to_owned();
                    RequestError::Destination { field: "lightningAddress", problem }.into()
                })
            }
            Destination::Invoice(request) if request.amount().is_none() => {
                if self.core.ports.wallet.capabilities().amountless_invoices {
                    return Ok(());
                }
                let problem = "missing amount: expected an invoice with an amount, because the server's wallet needs one";
                Err(RequestError::Destination { field: "invoice", problem: problem.to_owned() }.into())
            }
            // Whether there is such a session is seen when it is named.
            Destination::Invoice(_) | Destination::Session(_) => Ok(()),
        }
    }

    /// Sets where what is owed to the customer of `account` is paid; it is paid in the background. Asking again is safe.
    ///
    /// # Errors
    /// [`EngineError::Payout`], [`EngineError::Request`], [`EngineError::Busy`].
    pub(crate) async fn direct(
        &self,
        account: AccountId,
        destination: Destination,
    ) -> Result<RefundView, EngineError> {
        self.check(&destination)?;
        let (fees, network) = (self.fees(), self.core.ports.wallet.network());
        let direct = PayoutDirect { account, destination, fees, network };
        let owed = self.core.committer.commit(direct).await?;
        let about = log::Owner::of_account(account);
        info!(
            job_id = about.job(),
            session_id = about.session(),
            bootstrap_id = about.bootstrap(),
            due_msats = owed.due.to_msats().get(),
            "destination named"
        );
        self.wake();
        self.refund_view(&owed)
    }

    /// Lets the worker look for what is to be paid.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}
