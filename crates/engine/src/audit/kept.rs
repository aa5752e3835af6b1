//! Auditing requests that are done before their payment is taken: until one has ended, nothing was received for it, and nothing delivered.

use super::sessions::SessionAudit;
use std::collections::HashMap;
use tithe_ledger::{Auditor, Invariant};
use tithe_lightning::{Invoice, InvoiceState, PaymentHash, Purpose};
use tithe_money::Msats;
use tithe_sessions::{KeptRequest, KeptState, RequestState};
use uuid::Uuid;

/// What the audit keeps of a request whose payment is awaited or held.
struct KeptFacts {
    session: Uuid,
    invoice: PaymentHash,
    state: &'static str,
    /// What the customer is to be charged, once its payment is to be taken.
    charged: Option<Msats>,
}

#[derive(Default)]
pub(super) struct KeptAudit(Vec<KeptFacts>);

impl KeptAudit {
    pub(super) fn kept(&mut self, kept: &KeptRequest) {
        let charged = match &kept.state {
            KeptState::Ended => return,
            KeptState::Settling { answer } => match &answer.state {
                RequestState::Complete { ended, .. } | RequestState::Rejected { ended, .. } => {
                    Some(ended.charged)
                }
                RequestState::Running | RequestState::Failed { .. } => None,
            },
            KeptState::Offered | KeptState::Held { .. } | KeptState::Cancelling => None,
        };
        self.0.push(KeptFacts {
            session: kept.session.0,
            invoice: kept.invoice,
            state: kept.state_name().as_str(),
            charged,
        });
    }

    /// I3: the hold invoice of a kept request is its session's, and is not paid: its payment is in no account of ours. I8: its session waits
    /// for that payment and has no answer, and its answer costs no more than is held for it.
    pub(super) fn check(self, ledger: &mut Auditor, invoices: &[Invoice], sessions: &SessionAudit) {
        let mut of_kept: HashMap<PaymentHash, Option<&Invoice>> =
            self.0.iter().map(|kept| (kept.invoice, None)).collect();
        for invoice in invoices {
            if let Some(found) = of_kept.get_mut(&invoice.payment_hash) {
                *found = Some(invoice);
            }
        }
        let unpaid = sessions.unpaid(&self.0.iter().map(|kept| kept.session).collect());
        for kept in self.0 {
            let mut find = |invariant, problem: String| {
                let detail = format!("it is {}, {problem}", kept.state);
                ledger.find(invariant, format!("kept request of session {}", kept.session), detail);
            };
            match of_kept.get(&kept.invoice).copied().flatten() {
                None => find(Invariant::I3, format!("but its invoice {} does not exist", kept.invoice)),
                Some(Invoice { owner, purpose, .. })
                    if owner.0 != kept.session || *purpose != Purpose::SessionDeposit =>
                {
                    find(Invariant::I3, format!("but its invoice {} is of {owner}", kept.invoice));
                }
                Some(Invoice { state: InvoiceState::Paid { received, .. }, .. }) => {
                    find(Invariant::I3, format!("but {received} were received for it"));
                }
                Some(Invoice { amount, .. }) => {
                    if let Some(charged) = kept.charged.filter(|charged| charged > amount) {
                        find(Invariant::I8, format!("and is to cost {charged}, of which {amount} are held"));
                    }
                }
            }
            match unpaid.get(&kept.session) {
                None => find(Invariant::I8, "but its session does not exist".to_owned()),
                Some(false) => find(
                    Invariant::I8,
                    "but its session does not wait for the payment of one request".to_owned(),
                ),
                Some(true) => {}
            }
        }
    }
}
