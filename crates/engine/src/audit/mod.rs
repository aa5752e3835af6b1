//! The audit: proves the invariants on live data.

mod bootstraps;
mod kept;
mod payouts;
mod sessions;

use crate::store::{AuditRow, Store, StoreError};
use bootstraps::BootstrapAudit;
use futures_util::StreamExt;
use kept::KeptAudit;
use payouts::{PayoutAudit, PayoutTotals};
use sessions::SessionAudit;
use std::collections::HashMap;
use tithe_free_tier::PoolAuditor;
use tithe_jobs::{Job, JobState, WorkTerms};
use tithe_ledger::credits::CreditAuditor;
use tithe_ledger::{AccountId, AccountKind, Auditor, Finding, Invariant, Transfer, TransferKind};
use tithe_lightning::{Invoice, InvoiceState, Purpose};
use tithe_money::Msats;
use uuid::Uuid;

/// What an audit saw and found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Transfers seen.
    pub transfers: u64,
    /// Jobs seen.
    pub jobs: u64,
    /// Sessions seen.
    pub sessions: u64,
    /// Bootstraps seen.
    pub bootstraps: u64,
    /// Invoices seen.
    pub invoices: u64,
    /// Payouts seen that were made or are in flight.
    pub payouts: u64,
    /// Grants seen.
    pub grants: u64,
    /// Installs seen.
    pub installs: u64,
    /// Credits of installs seen.
    pub credits: u64,
    /// What is in each account that is not a customer's, credits less debits, in msats.
    pub balances: Vec<(AccountId, i128)>,
    /// What is in all jobs' accounts together, in msats.
    pub jobs_msats: i128,
    /// What is in all sessions' accounts together, in msats.
    pub sessions_msats: i128,
    /// What is in all bootstraps' accounts together, in msats.
    pub bootstraps_msats: i128,
    /// Everything that is wrong, in order.
    pub findings: Vec<Finding>,
}

/// What moved for one job, in msats.
#[derive(Debug, Clone, Copy, Default)]
struct JobMoney {
    paid: i128,
    /// With the tithe.
    charged: i128,
    /// By the pool.
    absorbed: i128,
    refunded: i128,
    rounding: i128,
}

#[derive(Default)]
struct Audit {
    ledger: Auditor,
    free_tier: PoolAuditor,
    payments: HashMap<String, Transfer>,
    money: HashMap<Uuid, JobMoney>,
    jobs: Vec<JobFacts>,
    sessions: SessionAudit,
    kept: KeptAudit,
    bootstraps: BootstrapAudit,
    payouts: PayoutAudit,
    credits: CreditAuditor,
    installs: u64,
    invoices: Vec<Invoice>,
}

/// What the audit keeps of a job.
struct JobFacts {
    id: Uuid,
    ended: bool,
    state: &'static str,
    charged: Msats,
    /// The evaluation fee, of a job that may have been charged it besides.
    fee_possible: Msats,
    absorbed: Msats,
    /// What must be reserved for it.
    reserved: Msats,
    refund: Msats,
}

/// Audits everything that `store` holds.
///
/// # Errors
/// [`StoreError`] when it cannot be read to the end.
pub async fn audit(store: &dyn Store) -> Result<AuditReport, StoreError> {
    let mut audit = Audit::new();
    let mut rows = store.audit_rows().await?;
    while let Some(row) = rows.next().await {
        audit.row(row?);
    }
    Ok(audit.report())
}

impl Audit {
    fn new() -> Self {
        // Every store has a unique index on the keys of transfers.
        Self { ledger: Auditor::default().trusting_unique_keys(), ..Self::default() }
    }

    fn row(&mut self, row: AuditRow) {
        match row {
            AuditRow::Transfer(transfer) => self.transfer(transfer),
            AuditRow::Account(account) => self.ledger.account(&account),
            AuditRow::Hold(hold) => self.ledger.hold(&hold),
            AuditRow::Invoice(invoice) => self.invoices.push(invoice),
            AuditRow::Job(job) => self.jobs.push(facts(&job)),
            AuditRow::Session(session) => self.sessions.session(&session),
            AuditRow::KeptRequest(kept) => self.kept.kept(&kept),
            AuditRow::SessionRequest(request) => self.sessions.request(&request),
            AuditRow::Bootstrap(bootstrap) => self.bootstraps.bootstrap(&bootstrap),
            AuditRow::Obligation(owed) => self.payouts.obligation(&owed),
            AuditRow::Payout(payout) => self.payouts.payout(&payout),
            AuditRow::Install(install) => {
                self.installs += 1;
                self.credits.install(*install);
            }
            AuditRow::Credit(credit) => self.credits.credit(&credit, &mut self.ledger),
            AuditRow::Identity(identity) => self.free_tier.identity(&identity),
            AuditRow::Reservation(reservation) => self.free_tier.reservation(&reservation, &mut self.ledger),
            AuditRow::PoolCounters(counters) => self.free_tier.counters(counters),
            AuditRow::Grant(grant) => self.free_tier.grant(&grant),
            AuditRow::Unreadable { subject, problem } => self.ledger.find(Invariant::I1, subject, problem),
        }
    }

    fn transfer(&mut self, transfer: Transfer) {
        self.ledger.transfer(&transfer);
        self.free_tier.transfer(&transfer);
        self.sessions.transfer(&transfer);
        self.bootstraps.transfer(&transfer);
        self.payouts.transfer(&transfer);
        let amount = i128::from(transfer.amount.get());
        if let AccountId::Job(job) = transfer.debit {
            let money = self.money.entry(job).or_default();
            match transfer.kind {
                TransferKind::Charge | TransferKind::Tithe => money.charged += amount,
                TransferKind::RefundAccrued => money.refunded += amount,
                TransferKind::Rounding => money.rounding += amount,
                _ => {
                    let detail = format!("a {} cannot come from a job", transfer.kind);
                    self.ledger.find(Invariant::I8, format!("transfer {}", transfer.key), detail);
                }
            }
        }
        if transfer.kind == TransferKind::Grant {
            // Whether it is a job's or a request's is known when all of them have been read.
            self.money.entry(transfer.reference).or_default().absorbed += amount;
        }
        if matches!(
            transfer.kind,
            TransferKind::JobPayment
                | TransferKind::Deposit
                | TransferKind::TopUp
                | TransferKind::BootstrapPayment
        ) {
            if let AccountId::Job(job) = transfer.credit {
                self.money.entry(job).or_default().paid += amount;
            }
            self.payments.insert(transfer.key.as_str().to_owned(), transfer);
        }
    }

    fn report(mut self) -> AuditReport {
        let invoices = std::mem::take(&mut self.invoices);
        let jobs = std::mem::take(&mut self.jobs);
        let totals = std::mem::take(&mut self.payouts).check(&mut self.ledger);
        self.check_payments(&invoices, totals);
        let sessions = std::mem::take(&mut self.sessions);
        std::mem::take(&mut self.kept).check(&mut self.ledger, &invoices, &sessions);
        let seen = sessions.seen();
        let Self { ledger, money, .. } = &mut self;
        let owed = sessions.check(ledger, |work| money.remove(&work).map_or(0, |money| money.absorbed));
        let bootstraps = std::mem::take(&mut self.bootstraps);
        let bootstraps_seen = bootstraps.seen();
        let owed = owed + bootstraps.check(&mut self.ledger) + self.check_jobs(&jobs);
        self.check_refunds(owed, totals);
        let grants = self.free_tier.grants();
        std::mem::take(&mut self.free_tier).finish(&mut self.ledger);
        let credits = self.credits.credits();
        std::mem::take(&mut self.credits).finish(&mut self.ledger);
        let sum = |kind: AccountKind| -> i128 {
            self.ledger.balances().filter(|(id, _)| id.kind() == kind).map(|(_, sum)| sum).sum()
        };
        let (jobs_msats, sessions_msats) = (sum(AccountKind::Job), sum(AccountKind::Session));
        let bootstraps_msats = sum(AccountKind::Bootstrap);
        AuditReport {
            transfers: self.ledger.transfers(),
            jobs: u64::try_from(jobs.len()).unwrap_or(u64::MAX),
            sessions: seen,
            bootstraps: bootstraps_seen,
            invoices: u64::try_from(invoices.len()).unwrap_or(u64::MAX),
            payouts: totals.payouts,
            grants,
            installs: self.installs,
            credits,
            balances: self
                .ledger
                .balances()
                .filter(|(id, _)| !id.is_guarded() || *id == AccountId::Pool)
                .collect(),
            jobs_msats,
            sessions_msats,
            bootstraps_msats,
            findings: self.ledger.finish(),
        }
    }

    /// I3: a paid invoice has exactly its one credit, and nothing else has one. I7: the wallet holds what arrived, less what was sent.
    fn check_payments(&mut self, invoices: &[Invoice], totals: PayoutTotals) {
        let mut arrived = 0_i128;
        for invoice in invoices {
            let subject = format!("invoice {}", invoice.payment_hash);
            let credit = self.payments.remove(&format!("payment:{}", invoice.payment_hash));
            let problem = match (&invoice.state, &credit) {
                (InvoiceState::Paid { received, preimage, .. }, Some(credit)) => {
                    arrived += i128::from(received.get());
                    if credit.amount != *received {
                        Some(format!("{received} arrived, but {} were credited", credit.amount))
                    } else if credit.credit != account_of(invoice) {
                        Some(format!("it is of {}, but {} was credited", invoice.owner, credit.credit))
                    } else if preimage.is_some_and(|preimage| preimage.payment_hash() != invoice.payment_hash)
                    {
                        Some("its preimage does not hash to it".to_owned())
                    } else {
                        None
                    }
                }
                (InvoiceState::Paid { received, .. }, None) => {
                    arrived += i128::from(received.get());
                    Some(format!("{received} arrived, but nothing was credited"))
                }
                (state, Some(credit)) => {
                    Some(format!("it is {}, but {} were credited for it", state.as_str(), credit.amount))
                }
                (_, None) => None,
            };
            if let Some(problem) = problem {
                self.ledger.find(Invariant::I3, subject, problem);
            }
        }
        for (key, credit) in std::mem::take(&mut self.payments) {
            let detail = format!("{} were credited for an invoice that does not exist", credit.amount);
            self.ledger.find(Invariant::I3, format!("transfer {key}"), detail);
        }
        let wallet = -self.ledger.balance(AccountId::Wallet);
        if wallet != arrived - totals.sent {
            let sent = totals.sent;
            let detail = format!(
                "the ledger says that it holds {wallet} msat, the paid invoices {arrived} msat, less {sent} msat for payouts \
                 and fees"
            );
            self.ledger.find(Invariant::I7, "wallet".to_owned(), detail);
        }
    }

    /// I8: what an ended job was paid is charged, refunded or rounded, to the last millisat, and as the job says; and so is
    /// what the pool has paid for it. What is reserved for a job is reserved while it may need it, and no longer.
    ///
    /// Returns what the jobs say is owed, in msats.
    fn check_jobs(&mut self, jobs: &[JobFacts]) -> i128 {
        let mut owed = 0_i128;
        for job in jobs {
            let money = self.money.remove(&job.id).unwrap_or_default();
            let left = money.paid - money.charged - money.refunded - money.rounding;
            owed += i128::from(job.refund.get());
            let charged = i128::from(job.charged.get());
            let refund = i128::from(job.refund.get());
            let subject = format!("job {}", job.id);
            if job.ended && left != 0 {
                let detail = format!(
                    "it is {}, and of {} msat paid {} are charged, {} refunded, {} rounded: {left} are left over",
                    job.state, money.paid, money.charged, money.refunded, money.rounding
                );
                self.ledger.find(Invariant::I8, subject.clone(), detail);
            }
            // A request that could not be evaluated was charged its fee if the model had run.
            let fee = i128::from(job.fee_possible.get());
            if money.charged != charged && money.charged != charged + fee {
                let detail = format!(
                    "it is {} and was to be charged {charged} msat, but {} are booked",
                    job.state, money.charged
                );
                self.ledger.find(Invariant::I8, subject.clone(), detail);
            }
            let (absorbed, reserved) = (i128::from(job.absorbed.get()), self.free_tier.take_reserved(job.id));
            if money.absorbed != absorbed {
                let detail = format!(
                    "it is {} and the pool was to pay {absorbed} msat of it, but {} are booked",
                    job.state, money.absorbed
                );
                self.ledger.find(Invariant::I8, subject.clone(), detail);
            }
            if reserved != job.reserved {
                let detail = format!(
                    "it is {}: {} are to be reserved for it, {reserved} are",
                    job.state, job.reserved
                );
                self.ledger.find(Invariant::I5, subject.clone(), detail);
            }
            if money.refunded != refund {
                let detail = format!("its refund is {refund} msat, but {} msat are booked", money.refunded);
                self.ledger.find(Invariant::I8, subject, detail);
            }
        }
        let only_granted = |money: &JobMoney| money.paid == 0 && money.charged == 0 && money.refunded == 0;
        for (id, _) in std::mem::take(&mut self.money).into_iter().filter(|(_, money)| !only_granted(money)) {
            self.ledger.find(
                Invariant::I8,
                format!("job {id}"),
                "money moved for it, but it does not exist".to_owned(),
            );
        }
        owed
    }

    /// I8: what is due is what jobs, sessions and bootstraps say was ever owed, less what was paid out or settled.
    fn check_refunds(&mut self, owed: i128, totals: PayoutTotals) {
        let (due, settled) = (self.ledger.balance(AccountId::RefundsDue), totals.settled);
        if due != owed - settled {
            let detail = format!(
                "the ledger says that {due} msat are due, jobs, sessions and bootstraps {owed} msat, less {settled} msat \
                 that were settled"
            );
            self.ledger.find(Invariant::I8, "refunds_due".to_owned(), detail);
        }
    }
}

/// The account that payments of an invoice are credited to.
const fn account_of(invoice: &Invoice) -> AccountId {
    match invoice.purpose {
        Purpose::SessionDeposit | Purpose::SessionTopUp | Purpose::SessionTopUpOffer => {
            AccountId::Session(invoice.owner.0)
        }
        Purpose::Bootstrap => AccountId::Bootstrap(invoice.owner.0),
        Purpose::JobEval | Purpose::JobWork | Purpose::Custom(_) => AccountId::Job(invoice.owner.0),
    }
}

fn facts(job: &Job) -> JobFacts {
    let evaluated = !matches!(
        job.state,
        JobState::AwaitingEvalPayment
            | JobState::Evaluating
            | JobState::Failed { work: None, .. }
            | JobState::Expired { work: None, .. }
    );
    let fee = if evaluated { job.evaluation_fee().to_msats() } else { Msats::ZERO };
    let unevaluated = matches!(job.state, JobState::Failed { work: None, .. });
    let fee_possible = if unevaluated { job.evaluation_fee().to_msats() } else { Msats::ZERO };
    let (work, absorbed) = match &job.state {
        JobState::Complete { completion, .. } => {
            (completion.settlement.charged, completion.settlement.absorbed)
        }
        _ => (Msats::ZERO, Msats::ZERO),
    };
    let reserved = match &job.state {
        state if state.name().is_terminal() => Msats::ZERO,
        state => state.work().map_or(Msats::ZERO, WorkTerms::reserved),
    };
    JobFacts {
        id: job.id.0,
        ended: job.state.name().is_terminal(),
        state: job.state.name().as_str(),
        charged: fee.checked_add(work).unwrap_or(Msats::MAX),
        fee_possible,
        absorbed,
        reserved,
        refund: job.refund.amount().to_msats(),
    }
}
