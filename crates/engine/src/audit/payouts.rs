//! Auditing what is owed to customers: what was accrued for a customer is due, paid out or settled by the operator, and each payout has
//! exactly its transfers.

use std::collections::HashMap;
use tithe_ledger::{AccountId, Auditor, Invariant, Transfer, TransferKind};
use tithe_lightning::PaymentHash;
use tithe_payouts::{Obligation, Payout, PayoutState};
use uuid::Uuid;

/// What the audit keeps of an obligation, in msats.
struct Owed {
    account: AccountId,
    reference: Uuid,
    accrued: i128,
    due: i128,
    in_flight: Option<PaymentHash>,
}

/// What the audit keeps of a payout, in msats.
struct Facts {
    account: AccountId,
    state: &'static str,
    is_paid: bool,
    has_wrong_preimage: bool,
    amount: i128,
    reserve: i128,
    fee: i128,
}

#[derive(Default)]
pub(super) struct PayoutAudit {
    obligations: Vec<Owed>,
    payouts: HashMap<PaymentHash, Facts>,
    /// What was accrued, by the account that it came from.
    accrued: HashMap<AccountId, i128>,
    /// What has left `refunds_due`, by what it is for.
    left: HashMap<Uuid, i128>,
    /// The transfers of payouts, by their keys.
    booked: HashMap<String, i128>,
    /// What has left `refunds_due` altogether.
    settled: i128,
    /// What the wallet kept of payments that it received.
    liquidity_fees: i128,
}

/// What the payouts say altogether, in msats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PayoutTotals {
    /// What has left `refunds_due`.
    pub settled: i128,
    /// What has left the wallet: payouts, routing fees, liquidity fees.
    pub sent: i128,
    /// The payouts that were made, and those in flight.
    pub payouts: u64,
}

impl PayoutAudit {
    pub(super) fn obligation(&mut self, owed: &Obligation) {
        self.obligations.push(Owed {
            account: owed.account,
            reference: owed.reference(),
            accrued: owed.accrued.to_msats().get().into(),
            due: owed.due.to_msats().get().into(),
            in_flight: owed.in_flight,
        });
    }

    pub(super) fn payout(&mut self, payout: &Payout) {
        let fee = match payout.state {
            PayoutState::Paid { fee, .. } => fee.get().into(),
            PayoutState::Paying { .. } | PayoutState::Failed { .. } => 0,
        };
        let facts = Facts {
            account: payout.account,
            state: payout.state.as_str(),
            is_paid: matches!(payout.state, PayoutState::Paid { .. }),
            has_wrong_preimage: match payout.state {
                PayoutState::Paid { preimage, .. } => preimage.payment_hash() != payout.payment_hash,
                PayoutState::Paying { .. } | PayoutState::Failed { .. } => false,
            },
            amount: payout.amount.to_msats().get().into(),
            reserve: payout.fee_limit.to_msats().get().into(),
            fee,
        };
        self.payouts.insert(payout.payment_hash, facts);
    }

    pub(super) fn transfer(&mut self, transfer: &Transfer) {
        let amount = i128::from(transfer.amount.get());
        if transfer.kind == TransferKind::RefundOverpaid {
            *self.left.entry(transfer.reference).or_default() -= amount;
            self.settled -= amount;
        } else if transfer.credit == AccountId::RefundsDue {
            *self.accrued.entry(transfer.debit).or_default() += amount;
        }
        if transfer.debit == AccountId::RefundsDue {
            *self.left.entry(transfer.reference).or_default() += amount;
            self.settled += amount;
        }
        match transfer.kind {
            TransferKind::RefundPaid | TransferKind::FeeReserve | TransferKind::RoutingFee => {
                self.booked.insert(transfer.key.as_str().to_owned(), amount);
            }
            TransferKind::LiquidityFee => self.liquidity_fees += amount,
            _ => {}
        }
    }

    /// I6: a payout that is in flight is its obligation's, which has no other; one that was made is booked once, and no other is.
    /// I8: what was accrued for a customer is due, paid or settled.
    pub(super) fn check(mut self, ledger: &mut Auditor) -> PayoutTotals {
        let mut sent = self.liquidity_fees;
        let mut made = 0;
        let payouts = std::mem::take(&mut self.payouts);
        let mut flying: HashMap<AccountId, Vec<PaymentHash>> = HashMap::new();
        for (hash, payout) in &payouts {
            if payout.is_paid {
                sent += payout.amount + payout.fee;
            }
            made += u64::from(payout.state != "failed");
            if payout.state == "paying" {
                flying.entry(payout.account).or_default().push(*hash);
            }
            if payout.has_wrong_preimage {
                let detail = "its preimage does not hash to it".to_owned();
                ledger.find(Invariant::I6, format!("payout {hash}"), detail);
            }
            let parts = [("", payout.amount), (":fee_reserve", payout.reserve), (":routing_fee", payout.fee)];
            for (suffix, amount) in parts {
                let booked = self.booked.remove(&format!("payout:{hash}{suffix}")).unwrap_or(0);
                let expected = if payout.is_paid { amount } else { 0 };
                if booked != expected {
                    let detail = format!(
                        "it is {}: {expected} msat are to be booked as payout{suffix}, {booked} msat are",
                        payout.state
                    );
                    ledger.find(Invariant::I6, format!("payout {hash}"), detail);
                }
            }
        }
        for (key, amount) in std::mem::take(&mut self.booked) {
            let detail = format!("{amount} msat are booked for a payout that does not exist");
            ledger.find(Invariant::I6, format!("transfer {key}"), detail);
        }
        for owed in std::mem::take(&mut self.obligations) {
            self.check_obligation(&owed, &flying.remove(&owed.account).unwrap_or_default(), ledger);
        }
        for (account, hashes) in flying {
            let detail =
                format!("{} payouts are in flight for an obligation that does not exist", hashes.len());
            ledger.find(Invariant::I6, format!("obligation {account}"), detail);
        }
        for (account, accrued) in std::mem::take(&mut self.accrued) {
            let detail = format!("{accrued} msat were accrued, but there is no obligation");
            ledger.find(Invariant::I8, format!("obligation {account}"), detail);
        }
        PayoutTotals { settled: self.settled, sent, payouts: made }
    }

    fn check_obligation(&mut self, owed: &Owed, flying: &[PaymentHash], ledger: &mut Auditor) {
        let subject = format!("obligation {}", owed.account);
        let accrued = self.accrued.remove(&owed.account).unwrap_or(0);
        let left = self.left.get(&owed.reference).copied().unwrap_or(0);
        if owed.accrued != accrued {
            let detail = format!("{} msat were to be accrued, but {accrued} msat are booked", owed.accrued);
            ledger.find(Invariant::I8, subject.clone(), detail);
        }
        if owed.due != accrued - left {
            let detail = format!("{} msat are due, but {accrued} msat less {left} msat are booked", owed.due);
            ledger.find(Invariant::I8, subject.clone(), detail);
        }
        if flying.to_vec() != owed.in_flight.into_iter().collect::<Vec<_>>() {
            let detail = format!(
                "{} payouts are in flight, and it says {}",
                flying.len(),
                u8::from(owed.in_flight.is_some())
            );
            ledger.find(Invariant::I6, subject, detail);
        }
    }
}
