//! Gives back a credit whose server is gone.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::credits::{CreditId, InstallId};

/// Gives back a credit whose lease has run out: its server is gone.
#[derive(Debug, Clone)]
pub struct CreditExpire {
    /// The credit.
    pub credit: CreditId,
    /// Its install.
    pub install: InstallId,
}

impl Command for CreditExpire {
    type Reply = ();
    const NAME: &'static str = "credit_expire";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_credit(self.credit, self.install);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        books.credit_expire(self.credit, self.install)
    }
}
