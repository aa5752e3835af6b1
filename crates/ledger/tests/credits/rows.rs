//! The rows of a service, as a store would have them, and their audit.

use std::collections::BTreeMap;
use tithe_clock::Timestamp;
use tithe_ledger::Auditor;
use tithe_ledger::credits::{Credit, CreditAuditor, CreditMoved, Install, InstallId};
use uuid::Uuid;

/// What is stored. A credit is known by its index.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub installs: BTreeMap<usize, Install>,
    pub credits: Vec<Credit>,
}

/// The id of the install with this number.
pub fn install_id(n: usize) -> InstallId {
    InstallId::new(Uuid::from_u128(u128::try_from(n).unwrap()))
}

impl Rows {
    /// The install with this number: the row, or that of an install that is seen for the first time.
    pub fn install(&self, n: usize, now: Timestamp) -> Install {
        self.installs.get(&n).cloned().unwrap_or_else(|| Install::new(install_id(n), now))
    }

    /// The number of the install that owns this credit.
    pub fn owner(&self, credit: usize) -> usize {
        let id = self.credits[credit].install;
        *self.installs.iter().find(|(_, install)| install.id == id).unwrap().0
    }

    /// Stores a step of the credit with this index, in one go.
    pub fn put(&mut self, install: usize, credit: usize, moved: CreditMoved) {
        self.installs.insert(install, moved.install);
        if let Some(row) = self.credits.get_mut(credit) {
            *row = moved.credit;
        } else {
            self.credits.push(moved.credit);
        }
    }

    /// What the audit finds.
    pub fn findings(&self) -> Vec<String> {
        let (mut credits, mut ledger) = (CreditAuditor::default(), Auditor::default());
        for credit in &self.credits {
            credits.credit(credit, &mut ledger);
        }
        for install in self.installs.values() {
            credits.install(install.clone());
        }
        assert_eq!(credits.credits(), u64::try_from(self.credits.len()).unwrap());
        credits.finish(&mut ledger);
        ledger.finish().iter().map(ToString::to_string).collect()
    }
}
