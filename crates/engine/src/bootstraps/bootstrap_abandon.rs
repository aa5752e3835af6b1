//! Ends a bootstrap that never got an invoice.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_bootstrap::{BootstrapError, BootstrapId};

/// Ends a bootstrap that never got an invoice: nobody was shown it.
#[derive(Debug, Clone)]
pub struct BootstrapAbandon {
    /// The bootstrap.
    pub bootstrap: BootstrapId,
}

impl Command for BootstrapAbandon {
    type Reply = ();
    const NAME: &'static str = "bootstrap_abandon";

    fn declare(&self, keys: &mut RowKeys) {
        keys.bootstraps.insert(self.bootstrap);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let bootstrap = books.bootstrap(self.bootstrap)?;
        if bootstrap.invoice.is_some() {
            return Err(BootstrapError::Invoiced.into());
        }
        let expired = bootstrap.expired(books.now())?;
        books.rows.bootstraps.put(expired)
    }
}
