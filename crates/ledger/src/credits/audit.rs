//! The audit of install credits (invariant I9).

use super::{Backend, Counted, Counters, Credit, Install, InstallId};
use crate::{Auditor, Invariant};
use std::collections::HashMap;
use tithe_clock::Timestamp;

/// What the credits of an install say of one of its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CounterKey {
    install: InstallId,
    /// The period; `None` for the counters of quotas that are never renewed.
    period: Option<Timestamp>,
}

/// Audits install credits: reads their rows, and adds what is wrong to the findings of the ledger's [`Auditor`].
///
/// Read credits and installs in any order; then call [`CreditAuditor::finish`]. Memory grows with the number of installs and of the
/// periods that had credits.
///
/// ```
/// use tithe_clock::Timestamp;
/// use tithe_ledger::credits::{CreditAuditor, Install};
/// use tithe_ledger::Auditor;
///
/// let (mut credits, mut ledger) = (CreditAuditor::default(), Auditor::default());
/// let mut install = Install::new("0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10".parse()?, Timestamp::UNIX_EPOCH);
/// install.lifetime.reserved = 1;
/// credits.install(install);
/// credits.finish(&mut ledger);
/// let findings: Vec<String> = ledger.finish().iter().map(ToString::to_string).collect();
/// let expected = "I9 install 0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10: \
///                 it says that 1 lifetime requests are reserved (0 of them in the cloud), its credits 0 (0)";
/// assert_eq!(findings, [expected]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct CreditAuditor {
    installs: Vec<Install>,
    counted: HashMap<CounterKey, Counters>,
    credits: u64,
}

impl CreditAuditor {
    /// Reads an install.
    pub fn install(&mut self, install: Install) {
        self.installs.push(install);
    }

    /// Reads a credit.
    pub fn credit(&mut self, credit: &Credit, ledger: &mut Auditor) {
        self.credits += 1;
        let quota = &credit.quota;
        let mut find = |detail| ledger.find(Invariant::I9, format!("credit {}", credit.id), detail);
        if let Some(most) = quota.requests.filter(|most| credit.used_after > *most) {
            find(format!("with it, {} requests of {most} were used", credit.used_after));
        }
        let is_cloud = credit.backend == Backend::Cloud;
        if let Some(most) = quota.cloud.filter(|most| is_cloud && credit.cloud_used_after > *most) {
            find(format!("with it, {} requests of {most} were used in the cloud", credit.cloud_used_after));
        }
        let period = (quota.counted == Counted::Monthly).then_some(credit.period_start);
        let counted = self.counted.entry(CounterKey { install: credit.install, period }).or_default();
        let cloud = u64::from(is_cloud);
        if credit.state.is_live() {
            counted.reserved += 1;
            counted.cloud_reserved += cloud;
        } else if credit.state.taken().is_some() {
            counted.consumed += 1;
            counted.cloud_consumed += cloud;
        }
    }

    /// How many credits were read.
    #[must_use]
    pub const fn credits(&self) -> u64 {
        self.credits
    }

    /// Compares what installs say with their credits.
    pub fn finish(mut self, ledger: &mut Auditor) {
        for install in &self.installs {
            for counted in [Counted::Lifetime, Counted::Monthly] {
                let period = (counted == Counted::Monthly).then_some(install.period_start);
                let key = CounterKey { install: install.id, period };
                let found = self.counted.remove(&key).unwrap_or_default();
                let said = install.counters(counted);
                let mut find = |detail| ledger.find(Invariant::I9, format!("install {}", install.id), detail);
                if (said.reserved, said.cloud_reserved) != (found.reserved, found.cloud_reserved) {
                    find(format!(
                        "it says that {} {} requests are reserved ({} of them in the cloud), its credits {} ({})",
                        said.reserved, counted.as_str(), said.cloud_reserved, found.reserved, found.cloud_reserved
                    ));
                }
                // It may have consumed more: before it was imported.
                if said.consumed < found.consumed || said.cloud_consumed < found.cloud_consumed {
                    find(format!(
                        "it says that {} {} requests were done ({} of them in the cloud), its credits {} ({})",
                        said.consumed, counted.as_str(), said.cloud_consumed, found.consumed, found.cloud_consumed
                    ));
                }
            }
        }
        // What is left belongs to periods that are over, or to no install.
        let known: std::collections::HashSet<InstallId> =
            self.installs.iter().map(|install| install.id).collect();
        let mut lost: Vec<InstallId> =
            self.counted.keys().map(|key| key.install).filter(|id| !known.contains(id)).collect();
        lost.sort_unstable();
        lost.dedup();
        for install in lost {
            ledger.find(Invariant::I9, format!("install {install}"), "it has credits, and no row".to_owned());
        }
    }
}
