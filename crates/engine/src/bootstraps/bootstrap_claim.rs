//! Claims a bootstrap for a worker.

use crate::books::{Books, Command, Refusal, RowKeys};
use std::time::Duration;
use tithe_bootstrap::{Bootstrap, BootstrapId};
use uuid::Uuid;

/// Claims a bootstrap with something to be done, unless another worker has it. Returns the bootstrap with its claim.
#[derive(Debug, Clone)]
pub struct BootstrapClaim {
    /// The bootstrap.
    pub bootstrap: BootstrapId,
    /// The run of the server that claims it.
    pub owner: Uuid,
    /// How long the claim lasts unless it is renewed.
    pub lease: Duration,
}

impl Command for BootstrapClaim {
    type Reply = Box<Bootstrap>;
    const NAME: &'static str = "bootstrap_claim";

    fn declare(&self, keys: &mut RowKeys) {
        keys.bootstraps.insert(self.bootstrap);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Bootstrap>, Refusal> {
        let now = books.now();
        let claimed = books.bootstrap(self.bootstrap)?.claimed(self.owner, now + self.lease, now)?;
        books.rows.bootstraps.put(claimed.clone())?;
        Ok(Box::new(claimed))
    }
}
