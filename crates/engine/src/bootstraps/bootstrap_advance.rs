//! Takes a step of a bootstrap that moves no money.

use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_bootstrap::{Bootstrap, BootstrapId, Claim};

/// A step of a bootstrap that moves no money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootstrapStep {
    /// The worker goes on; its claim lasts for this long from now on.
    Renew(Duration),
    /// The provisioner is about to be called to make the node.
    Begin,
    /// The provisioner has certainly made nothing; it is called again after this rest.
    NotBegun(Duration),
    /// The worker leaves the bootstrap as it is, for this long.
    Rest(Duration),
    /// The node of a failed bootstrap is gone.
    Destroyed,
}

/// Takes a step of a bootstrap for the worker that has claimed it. Returns the bootstrap as it is now.
#[derive(Debug, Clone)]
pub struct BootstrapAdvance {
    /// The bootstrap.
    pub bootstrap: BootstrapId,
    /// The worker's claim.
    pub claim: Claim,
    /// The step.
    pub step: BootstrapStep,
}

impl Command for BootstrapAdvance {
    type Reply = Box<Bootstrap>;
    const NAME: &'static str = "bootstrap_advance";

    fn declare(&self, keys: &mut RowKeys) {
        keys.bootstraps.insert(self.bootstrap);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Bootstrap>, Refusal> {
        let (bootstrap, claim, now) = (books.bootstrap(self.bootstrap)?, self.claim, books.now());
        let next = match self.step {
            BootstrapStep::Renew(lease) => bootstrap.renewed(claim, now + lease)?,
            BootstrapStep::Begin => bootstrap.begun(claim, now)?,
            BootstrapStep::NotBegun(rest) => bootstrap.not_begun(claim, now + rest, now)?,
            BootstrapStep::Rest(rest) => bootstrap.rests(claim, now + rest, now)?,
            BootstrapStep::Destroyed => bootstrap.destroyed(claim, now)?,
        };
        books.rows.bootstraps.put(next.clone())?;
        Ok(Box::new(next))
    }
}
