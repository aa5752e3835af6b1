//! The rows that commands decide on.

use super::{Command, WorkOutcome};
use crate::idempotency::{IdempotencyId, IdempotencyRequest};
use crate::proof::{ProofId, ProofKind};
use std::collections::BTreeSet;
use tithe_free_tier::ReservationId;
use tithe_jobs::JobId;
use tithe_ledger::{AccountId, HoldId, TransferKey};
use tithe_lightning::PaymentHash;
use tithe_trust::NostrPubkey;

/// The rows that a batch decides on: to be locked and loaded, each kind in its own order, in the order of these fields, so that
/// the pool, which all share, is the last to be locked of what others may want. What guards comes before what it guards: whether a hold, a
/// reservation or a transfer exists is known only once its account and its identity are locked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockKeys {
    /// Identities and their day.
    pub identities: BTreeSet<NostrPubkey>,
    /// Jobs.
    pub jobs: BTreeSet<JobId>,
    /// Invoices.
    pub invoices: BTreeSet<PaymentHash>,
    /// Idempotency keys.
    pub idempotency: BTreeSet<IdempotencyId>,
    /// Proofs that may have been used.
    pub proofs: BTreeSet<ProofId>,
    /// Guarded accounts; the pool is the last in their order.
    pub accounts: BTreeSet<AccountId>,
    /// What the pool's limits count: one row, loaded after the pool.
    pub tally: bool,
    /// Holds.
    pub holds: BTreeSet<HoldId>,
    /// Reservations.
    pub reservations: BTreeSet<ReservationId>,
    /// Transfers that may have been made before: only whether they exist is loaded.
    pub transfers: BTreeSet<TransferKey>,
}

impl Command {
    /// Adds the rows that this command decides on.
    pub fn add_keys(&self, keys: &mut LockKeys) {
        match self {
            Self::JobCreate { job, idempotency, .. } => {
                keys.jobs.insert(job.id);
                keys.identities.extend(job.identity);
                keys.idempotency.extend(idempotency.iter().map(|request| request.id.clone()));
            }
            Self::InvoiceIssue { job, invoice, finish, .. } => {
                keys.jobs.insert(*job);
                keys.invoices.insert(invoice.payment_hash);
                keys.idempotency.extend(finish.iter().map(|(id, _)| id.clone()));
            }
            Self::PaymentCredit { job, identity, settlement } => {
                keys.add_job(*job);
                keys.add_job_reservation(*job, *identity);
                keys.invoices.insert(settlement.payment_hash);
            }
            Self::EvaluationFinish { job, identity, .. } => {
                keys.add_job(*job);
                keys.add_job_reservation(*job, *identity);
            }
            Self::WorkFinish { job, identity, outcome, .. } => {
                keys.add_job(*job);
                keys.add_job_reservation(*job, *identity);
                if matches!(outcome, WorkOutcome::Completed { .. }) {
                    // The tithe.
                    keys.accounts.insert(AccountId::Pool);
                }
            }
            Self::JobAbandon { job } => keys.add_job(*job),
            Self::InvoiceLapse { job, identity, invoice } => {
                keys.add_job(*job);
                keys.add_job_reservation(*job, *identity);
                keys.invoices.insert(*invoice);
            }
            Self::Charge(charge) => {
                keys.accounts.extend([charge.account, AccountId::Pool]);
                if let Some(identity) = charge.identity {
                    keys.identities.insert(identity);
                    keys.tally = true;
                }
                keys.transfers.insert(charge.key());
            }
            Self::GrantReserve { reservation, identity, .. }
            | Self::GrantSettle { reservation, identity, .. }
            | Self::GrantRelease { reservation, identity }
            | Self::GrantLapse { reservation, identity } => keys.add_reservation(*reservation, *identity),
            Self::GrantRenew { reservation, identity, .. } => {
                keys.identities.insert(*identity);
                keys.reservations.insert(*reservation);
            }
            Self::ProofUse { proof, kind, identity, .. } => {
                keys.proofs.insert(*proof);
                if *kind == ProofKind::Login {
                    keys.identities.insert(*identity);
                }
            }
            Self::HoldPlace { hold, account, .. }
            | Self::HoldRenew { hold, account, .. }
            | Self::HoldSettle { hold, account, .. }
            | Self::HoldRelease { hold, account }
            | Self::HoldExpire { hold, account } => {
                keys.holds.insert(*hold);
                keys.accounts.insert(*account);
            }
            Self::Post(posting) => {
                keys.transfers.insert(posting.key.clone());
                keys.accounts
                    .extend([posting.debit, posting.credit].into_iter().filter(|id| id.is_guarded()));
            }
            Self::IdempotencyBegin(IdempotencyRequest { id, .. })
            | Self::IdempotencyFinish { id, .. }
            | Self::IdempotencyRelease { id } => {
                keys.idempotency.insert(id.clone());
            }
        }
    }
}

impl LockKeys {
    fn add_job(&mut self, job: JobId) {
        self.jobs.insert(job);
        self.accounts.insert(AccountId::Job(job.0));
    }

    /// What the pool pays of an anonymous job is nothing, and needs no row.
    fn add_job_reservation(&mut self, job: JobId, identity: Option<NostrPubkey>) {
        if let Some(identity) = identity {
            self.add_reservation(ReservationId(job.0), identity);
        }
    }

    fn add_reservation(&mut self, reservation: ReservationId, identity: NostrPubkey) {
        self.identities.insert(identity);
        self.accounts.insert(AccountId::Pool);
        self.tally = true;
        self.reservations.insert(reservation);
    }
}
