//! Delivers the credentials of a node.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_bootstrap::{Bootstrap, BootstrapId};

/// Forgets the encrypted credentials of a node, because they are about to be shown: at most one such command is accepted for each
/// bootstrap, whatever becomes of the response. Returns the bootstrap as it is now.
#[derive(Debug, Clone)]
pub struct BootstrapDeliver {
    /// The bootstrap.
    pub bootstrap: BootstrapId,
}

impl Command for BootstrapDeliver {
    type Reply = Box<Bootstrap>;
    const NAME: &'static str = "bootstrap_deliver";

    fn declare(&self, keys: &mut RowKeys) {
        keys.bootstraps.insert(self.bootstrap);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<Bootstrap>, Refusal> {
        let delivered = books.bootstrap(self.bootstrap)?.delivered(books.now())?;
        books.rows.bootstraps.put(delivered.clone())?;
        Ok(Box::new(delivered))
    }
}
