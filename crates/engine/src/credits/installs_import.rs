//! Brings installs from another system.

use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_ledger::credits::{Counters, Install};

/// Adds installs of another system, all or none. One that exists already stays as it is: it has been used since.
#[derive(Debug, Clone)]
pub struct InstallsImport {
    /// The installs. Nothing of them is reserved.
    pub installs: Vec<Install>,
}

/// What [`InstallsImport`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// How many installs were added.
    pub added: usize,
    /// How many existed already and were left as they are.
    pub kept: usize,
}

impl Command for InstallsImport {
    type Reply = Imported;
    const NAME: &'static str = "installs_import";

    fn declare(&self, keys: &mut RowKeys) {
        keys.installs.extend(self.installs.iter().map(|install| install.id));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Imported, Refusal> {
        let unreserved = |counters: Counters| Counters { reserved: 0, cloud_reserved: 0, ..counters };
        let mut imported = Imported { added: 0, kept: 0 };
        for install in &self.installs {
            if books.rows.installs.contains(&install.id)? {
                imported.kept += 1;
                continue;
            }
            let (lifetime, monthly) = (unreserved(install.lifetime), unreserved(install.monthly));
            books.rows.installs.put(Install { lifetime, monthly, ..install.clone() })?;
            imported.added += 1;
        }
        Ok(imported)
    }
}
