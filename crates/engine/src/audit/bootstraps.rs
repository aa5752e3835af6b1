//! Auditing bootstraps: what was paid for a node is charged when the node is ready, refunded when there is none, and until then in its
//! account.

use std::collections::HashMap;
use tithe_bootstrap::{Bootstrap, BootstrapState};
use tithe_ledger::{AccountId, Auditor, Invariant, Transfer, TransferKind};
use uuid::Uuid;

/// What moved for one bootstrap, in msats.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    paid: i128,
    /// With the tithe.
    charged: i128,
    refunded: i128,
    rounding: i128,
}

/// What the audit keeps of a bootstrap, in msats.
struct Facts {
    id: Uuid,
    state: &'static str,
    ended: bool,
    charged: i128,
    refund: i128,
    rounding: i128,
}

#[derive(Default)]
pub(super) struct BootstrapAudit {
    bootstraps: Vec<Facts>,
    moved: HashMap<Uuid, Moved>,
}

impl BootstrapAudit {
    pub(super) fn bootstrap(&mut self, bootstrap: &Bootstrap) {
        let is_ready = matches!(bootstrap.state, BootstrapState::Ready { .. });
        let price = i128::from(bootstrap.amount.to_msats().get());
        self.bootstraps.push(Facts {
            id: bootstrap.id.0,
            state: bootstrap.state_name().as_str(),
            ended: bootstrap.has_ended(),
            charged: if is_ready { price } else { 0 },
            refund: bootstrap.refund.to_msats().get().into(),
            rounding: bootstrap.rounding.get().into(),
        });
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer) {
        let amount = i128::from(transfer.amount.get());
        if let AccountId::Bootstrap(bootstrap) = transfer.debit {
            let moved = self.moved.entry(bootstrap).or_default();
            match transfer.kind {
                TransferKind::Charge | TransferKind::Tithe => moved.charged += amount,
                TransferKind::RefundAccrued => moved.refunded += amount,
                TransferKind::Rounding => moved.rounding += amount,
                // The chart of accounts says what may come from a bootstrap.
                _ => {}
            }
        }
        if let (AccountId::Bootstrap(bootstrap), TransferKind::BootstrapPayment) =
            (transfer.credit, transfer.kind)
        {
            self.moved.entry(bootstrap).or_default().paid += amount;
        }
    }

    /// How many bootstraps were seen.
    pub(super) fn seen(&self) -> u64 {
        u64::try_from(self.bootstraps.len()).unwrap_or(u64::MAX)
    }

    /// I8: what was paid for a bootstrap is charged, refunded, rounded or still in its account, as the bootstrap says, to the last
    /// millisat; nothing is left of one that has ended. Returns what the bootstraps say is owed, in msats.
    pub(super) fn check(mut self, ledger: &mut Auditor) -> i128 {
        let mut owed = 0;
        for bootstrap in &self.bootstraps {
            let moved = self.moved.remove(&bootstrap.id).unwrap_or_default();
            let subject = format!("bootstrap {}", bootstrap.id);
            owed += bootstrap.refund;
            for (what, says, booked) in [
                ("was charged", bootstrap.charged, moved.charged),
                ("is refunded", bootstrap.refund, moved.refunded),
                ("is rounded", bootstrap.rounding, moved.rounding),
            ] {
                if says != booked {
                    let detail = format!("it {what} {says} msat, but {booked} msat are booked");
                    ledger.find(Invariant::I8, subject.clone(), detail);
                }
            }
            let left = moved.paid - moved.charged - moved.refunded - moved.rounding;
            if bootstrap.ended && left != 0 {
                let detail = format!("it is {}, and {left} msat are left over", bootstrap.state);
                ledger.find(Invariant::I8, subject, detail);
            }
        }
        for (id, moved) in self.moved.into_iter().filter(|(_, moved)| moved.paid != 0) {
            let detail = format!("{} msat were paid for it, but it does not exist", moved.paid);
            ledger.find(Invariant::I8, format!("bootstrap {id}"), detail);
        }
        owed
    }
}
