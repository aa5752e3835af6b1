//! The audit of install credits (invariant I9).

use super::{Backend, Counted, Counters, Credit, Install, InstallId};
use crate::{Auditor, Invariant};
use std::collections::{BTreeSet, HashMap};
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
///                 its row says that 1 lifetime requests are reserved (0 of them in the cloud), its credits 0 (0)";
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
    pub fn finish(self, ledger: &mut Auditor) {
        let Self { installs, mut counted, .. } = self;
        for install in &installs {
            for quota in [Counted::Lifetime, Counted::Monthly] {
                let period = (quota == Counted::Monthly).then_some(install.period_start);
                let found = counted.remove(&CounterKey { install: install.id, period }).unwrap_or_default();
                for detail in compare(quota, install.counters(quota), &found) {
                    ledger.find(Invariant::I9, format!("install {}", install.id), detail);
                }
            }
        }
        // What is left belongs to periods that are over, unless something is wrong.
        let periods: HashMap<InstallId, Timestamp> =
            installs.iter().map(|install| (install.id, install.period_start)).collect();
        let lost: BTreeSet<(InstallId, &str)> = counted
            .into_keys()
            .filter_map(|key| match (periods.get(&key.install), key.period) {
                (None, _) => Some((key.install, "it has credits, and no row")),
                (Some(current), Some(of_credits)) if of_credits > *current => {
                    Some((key.install, "it has credits of a period after its current one"))
                }
                (Some(_), _) => None,
            })
            .collect();
        for (install, detail) in lost {
            ledger.find(Invariant::I9, format!("install {install}"), detail.to_owned());
        }
    }
}

/// What is wrong with the counters that an install's row has, given those of its credits.
fn compare(counted: Counted, row: &Counters, credits: &Counters) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = counted.as_str();
    if (row.reserved, row.cloud_reserved) != (credits.reserved, credits.cloud_reserved) {
        wrong.push(format!(
            "its row says that {} {name} requests are reserved ({} of them in the cloud), its credits {} ({})",
            row.reserved, row.cloud_reserved, credits.reserved, credits.cloud_reserved
        ));
    }
    // The row may say more, because of what was consumed before the install was imported.
    if row.consumed < credits.consumed || row.cloud_consumed < credits.cloud_consumed {
        wrong.push(format!(
            "its row says that {} {name} requests were consumed ({} of them in the cloud), its credits {} ({})",
            row.consumed, row.cloud_consumed, credits.consumed, credits.cloud_consumed
        ));
    }
    wrong
}
