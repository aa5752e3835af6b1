//! Ends the provisioning of a bootstrap.

use super::steps::account_of;
use crate::books::{Books, Command, Refusal, RowKeys};
use crate::charging::{Absorb, FinishedWork, Payer};
use tithe_bootstrap::{Bootstrap, BootstrapId, Claim};
use tithe_free_tier::RequestHash;
use tithe_trust::NostrPubkey;

/// How the provisioning of a node ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootstrapOutcome {
    /// The node can be used.
    Ready {
        /// The host name or the IP address.
        host: String,
        /// The encrypted credentials.
        sealed: String,
    },
    /// There will be no node.
    Failed {
        /// The reason, in words that customers may see.
        message: String,
        /// Whether the provisioner may have made a node all the same.
        node_possible: bool,
    },
}

/// Ends the provisioning of a bootstrap for the worker that has claimed it: what was paid is settled (charge, tithe, trust), or
/// refunded. Returns the bootstrap as it is now.
#[derive(Debug, Clone)]
pub struct BootstrapFinish {
    /// The bootstrap.
    pub bootstrap: BootstrapId,
    /// The customer's identity.
    pub identity: Option<NostrPubkey>,
    /// The worker's claim.
    pub claim: Claim,
    /// How it ends.
    pub outcome: BootstrapOutcome,
}

impl BootstrapFinish {
    const fn payer(&self) -> Payer {
        Payer::Deposit(account_of(self.bootstrap))
    }
}

impl Command for BootstrapFinish {
    type Reply = Box<Bootstrap>;
    const NAME: &'static str = "bootstrap_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_bootstrap(self.bootstrap);
        if matches!(self.outcome, BootstrapOutcome::Ready { .. }) {
            // The pool pays for no nodes.
            keys.declare_settlement(self.payer(), Absorb::Nothing, self.identity);
        }
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Bootstrap>, Refusal> {
        let (bootstrap, now) = (books.bootstrap(self.bootstrap)?, books.now());
        if bootstrap.identity != self.identity {
            return Err(Refusal::OtherIdentity { kind: "bootstrap", key: self.bootstrap.to_string() });
        }
        let ended = match &self.outcome {
            BootstrapOutcome::Ready { host, sealed } => {
                let ready = bootstrap.ready(self.claim, host.clone(), sealed.clone(), now)?;
                let price = bootstrap.amount.to_msats();
                books.settle(&FinishedWork {
                    id: self.bootstrap.0,
                    identity: self.identity,
                    cost: price,
                    limit: price,
                    absorb: Absorb::Nothing,
                    payer: self.payer(),
                    request_hash: RequestHash::of(&bootstrap.plan),
                })?;
                ready
            }
            BootstrapOutcome::Failed { message, node_possible } => {
                bootstrap.failed(self.claim, message.clone(), *node_possible, now)?
            }
        };
        Ok(Box::new(books.bootstrap_refund(&ended, "end")?))
    }
}
