//! From the reference's small numbers to commands and rows.

use super::LEASE;
use super::op::Op;
use super::reference::{Reference, asked_msats, paid_msats};
use crate::scene::{invoice, job_id, msats, new_job, preimage, settlement, usage, work};
use std::collections::HashMap;
use std::sync::Arc;
use tithe_clock::Timestamp;
use tithe_engine::commands::{Command, Fault, Posting, Verdict, WorkOutcome};
use tithe_engine::store::Store;
use tithe_jobs::Lease;
use tithe_ledger::{AccountId, HoldId, TransferKey, TransferKind};
use tithe_lightning::Purpose;
use uuid::Uuid;

impl Reference {
    fn account(&self, account: u8) -> AccountId {
        match account {
            0 => AccountId::Session(self.uuid(900)),
            1 => AccountId::Session(self.uuid(901)),
            2 => AccountId::Operator,
            _ => AccountId::Revenue,
        }
    }

    fn uuid(&self, n: u128) -> Uuid {
        Uuid::from_u128(u128::from(self.seed) << 64 | n)
    }

    fn hold(&self, hold: u8) -> HoldId {
        HoldId(self.uuid(u128::from(hold)))
    }

    /// The command that `op` is, with the leases that jobs have now.
    pub(super) fn command(&self, op: &Op, leases: &HashMap<u8, Lease>, now: Timestamp) -> Command {
        let job = |n: u8| self.base + n;
        let purpose = |for_work| if for_work { Purpose::JobWork } else { Purpose::JobEval };
        let lease = |n: &u8| leases.get(n).copied().unwrap_or_default();
        let on = |hold: u8| self.account(self.holds.get(&hold).map_or(0, |(account, ..)| *account));
        match op {
            Op::Post(from, to, amount, key) => Command::Post(Posting {
                key: TransferKey::new(format!("post:{}:{key}", self.seed)),
                debit: self.account(*from),
                credit: self.account(*to),
                amount: msats(*amount),
                kind: TransferKind::Adjustment,
                reference: Uuid::nil(),
            }),
            Op::Place(hold, account, amount) => Command::HoldPlace {
                hold: self.hold(*hold),
                account: self.account(account % 2),
                amount: msats(*amount),
                lease: LEASE,
            },
            Op::Settle(hold, cost) => {
                Command::HoldSettle { hold: self.hold(*hold), account: on(*hold), cost: msats(*cost) }
            }
            Op::Release(hold) => Command::HoldRelease { hold: self.hold(*hold), account: on(*hold) },
            Op::Expire(hold) => Command::HoldExpire { hold: self.hold(*hold), account: on(*hold) },
            Op::Renew(hold) => {
                Command::HoldRenew { hold: self.hold(*hold), account: on(*hold), lease: LEASE }
            }
            Op::Create(n) => Command::JobCreate {
                job: Box::new(new_job(job(*n), now)),
                idempotency: None,
                instead_of: None,
            },
            Op::Issue(n, for_work) => Command::InvoiceIssue {
                job: job_id(job(*n)),
                invoice: invoice(job(*n), purpose(*for_work), now),
                lease: for_work.then(|| lease(n)),
                finish: None,
            },
            Op::Pay(n, for_work, how) => {
                let amount = u64::try_from(paid_msats(asked_msats(*for_work), *how)).unwrap();
                let settlement = settlement(job(*n), purpose(*for_work), msats(amount), now);
                Command::PaymentCredit { job: job_id(job(*n)), identity: None, settlement }
            }
            Op::Lapse(n, for_work) => Command::InvoiceLapse {
                job: job_id(job(*n)),
                identity: None,
                invoice: preimage(job(*n), purpose(*for_work)).payment_hash(),
            },
            Op::Judge(n, verdict) => Command::EvaluationFinish {
                job: job_id(job(*n)),
                identity: None,
                lease: lease(n),
                verdict: match verdict {
                    0 => Verdict::Rejected("no".to_owned()),
                    1 => Verdict::Failed("sorry".to_owned()),
                    _ => Verdict::Accepted(work()),
                },
            },
            Op::Finish(n, output) => Command::WorkFinish {
                job: job_id(job(*n)),
                identity: None,
                lease: lease(n),
                outcome: match output {
                    Some(output) => WorkOutcome::Completed { text: Arc::from("done"), usage: usage(*output) },
                    None => WorkOutcome::Failed { message: "broken".to_owned(), fault: Fault::Server },
                },
            },
        }
    }

    pub(super) async fn compare(&self, store: &dyn Store) {
        for account in [0, 1] {
            let row = store.account(self.account(account)).await.unwrap();
            let (balance, held) = row.map_or((0, 0), |row| (row.balance().get(), row.held().get()));
            assert_eq!(i128::from(balance), *self.balances.get(&account).unwrap_or(&0));
            assert_eq!(i128::from(held), *self.held.get(&account).unwrap_or(&0));
        }
        for (n, wanted) in &self.jobs {
            let id = job_id(self.base + n);
            let job = store.job(id).await.unwrap().unwrap();
            let state = if job.state.work().is_some() && job.state.name().as_str() == "evaluating" {
                "accepted"
            } else {
                job.state.name().as_str()
            };
            assert_eq!(state, wanted.state);
            assert_eq!(i128::from(job.refund.amount().get()), wanted.refund_sats);
            let account = store.account(AccountId::Job(id.0)).await.unwrap();
            assert_eq!(account.map_or(0, |row| i128::from(row.balance().get())), wanted.money);
        }
    }
}
