//! The `Books`: rows in, decisions and changed rows out. Pure and synchronous; the rules of the domain, applied to the
//! rows that a batch has locked. Both stores run the same ones.

mod free_tier;
mod holds;
mod jobs;
mod keys;
mod proofs;
mod rows;

use crate::commands::{Answer, Batch, Command, Outcome, Posting, Refusal};
use crate::idempotency::{IdempotencyId, IdempotencyRecord};
use crate::proof::{ProofId, UsedProof};
use crate::rules::Rules;
use crate::store::{Changes, Decided, Loaded};
use rows::Rows;
use std::collections::HashSet;
use tithe_clock::Timestamp;
use tithe_free_tier::{Grant, PoolTally, Reservation, ReservationId, Standing};
use tithe_jobs::{Job, JobChange, JobId};
use tithe_ledger::{Account, AccountId, Hold, HoldId, Transfer, TransferKey, TransferKind};
use tithe_lightning::{Invoice, PaymentHash};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// The rows of one batch, and what the commands so far have made of them.
struct Books {
    now: Timestamp,
    rules: Rules,
    accounts: Rows<AccountId, Account>,
    holds: Rows<HoldId, Hold>,
    invoices: Rows<PaymentHash, Invoice>,
    jobs: Rows<JobId, Job>,
    idempotency: Rows<IdempotencyId, IdempotencyRecord>,
    standings: Rows<NostrPubkey, Standing>,
    proofs: Rows<ProofId, UsedProof>,
    reservations: Rows<ReservationId, Reservation>,
    tally: Rows<(), PoolTally>,
    /// Keys of transfers that exist, or that this batch has made.
    posted: HashSet<TransferKey>,
    transfers: Vec<Transfer>,
    grants: Vec<Grant>,
    job_changes: Vec<JobChange>,
    draft_transfers: Vec<Transfer>,
    draft_grants: Vec<Grant>,
    draft_job_changes: Vec<JobChange>,
}

impl Batch {
    /// Decides every command in turn, each on what those before it have left. A refused one leaves everything as it was.
    #[must_use]
    pub fn decide(&self, loaded: Loaded) -> Decided {
        let mut books = Books::new(loaded, self.rules().clone(), self.now());
        let outcomes = self.commands().iter().map(|command| books.run(command)).collect();
        Decided { outcomes, changes: books.into_changes() }
    }
}

impl Books {
    fn new(loaded: Loaded, rules: Rules, now: Timestamp) -> Self {
        Self {
            now,
            rules,
            accounts: Rows::new(loaded.accounts.into_iter().map(|row| (row.id(), row))),
            holds: Rows::new(loaded.holds.into_iter().map(|row| (row.id, row))),
            invoices: Rows::new(loaded.invoices.into_iter().map(|row| (row.payment_hash, row))),
            jobs: Rows::new(loaded.jobs.into_iter().map(|row| (row.id, row))),
            idempotency: Rows::new(loaded.idempotency.into_iter().map(|row| (row.id.clone(), row))),
            standings: Rows::new(loaded.identities.into_iter().map(|row| (row.pubkey(), row))),
            proofs: Rows::new(loaded.proofs.into_iter().map(|row| (row.id, row))),
            reservations: Rows::new(loaded.reservations.into_iter().map(|row| (row.id, row))),
            tally: Rows::new(loaded.tally.into_iter().map(|row| ((), row))),
            posted: loaded.transfers,
            transfers: Vec::new(),
            grants: Vec::new(),
            job_changes: Vec::new(),
            draft_transfers: Vec::new(),
            draft_grants: Vec::new(),
            draft_job_changes: Vec::new(),
        }
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let outcome = self.decide(command);
        if outcome.is_ok() {
            self.accept();
        } else {
            self.discard();
        }
        outcome
    }

    fn decide(&mut self, command: &Command) -> Outcome {
        match command {
            Command::JobCreate { job, idempotency, instead_of } => {
                self.job_create(job, idempotency.as_ref(), *instead_of)
            }
            Command::InvoiceIssue { job, invoice, lease, finish } => {
                self.invoice_issue(*job, invoice, lease.as_ref(), finish.as_ref())
            }
            Command::PaymentCredit { job, identity, settlement } => {
                self.payment_credit(*job, *identity, settlement)
            }
            Command::EvaluationFinish { job, identity, lease, verdict } => {
                self.evaluation_finish(*job, *identity, lease, verdict)
            }
            Command::WorkFinish { job, identity, lease, outcome } => {
                self.work_finish(*job, *identity, lease, outcome)
            }
            Command::InvoiceLapse { job, identity, invoice } => self.invoice_lapse(*job, *identity, *invoice),
            Command::JobAbandon { job } => self.job_abandon(*job),
            Command::HoldPlace { hold, account, amount, lease } => {
                self.hold_place(*hold, *account, *amount, *lease)
            }
            Command::HoldRenew { hold, lease, .. } => self.hold_renew(*hold, *lease),
            Command::HoldSettle { hold, account, cost } => self.hold_settle(*hold, *account, *cost),
            Command::HoldRelease { hold, account } => self.hold_release(*hold, *account),
            Command::HoldExpire { hold, account } => self.hold_expire(*hold, *account),
            Command::Charge(charge) => self.charge_work(charge),
            Command::GrantReserve { reservation, identity, amount, lease } => {
                self.grant_reserve(*reservation, *identity, *amount, *lease)
            }
            Command::GrantRenew { reservation, identity, lease } => {
                self.grant_renew(*reservation, *identity, *lease)
            }
            Command::GrantSettle { reservation, identity, cost, request_hash } => {
                self.grant_settle(*reservation, *identity, *cost, *request_hash)
            }
            Command::GrantRelease { reservation, identity } => self.grant_release(*reservation, *identity),
            Command::GrantLapse { reservation, identity } => self.grant_lapse(*reservation, *identity),
            Command::ProofUse { proof, kind, identity, expires_at } => {
                self.proof_use(*proof, *kind, *identity, *expires_at)
            }
            Command::Post(posting) => self.post(posting),
            Command::IdempotencyBegin(request) => self.idempotency_begin(request),
            Command::IdempotencyFinish { id, answer } => Ok(self.idempotency_finish(id, answer)),
            Command::IdempotencyRelease { id } => Ok(self.idempotency_release(id)),
        }
    }

    fn post(&mut self, posting: &Posting) -> Outcome {
        if self.posted.contains(&posting.key) {
            return Ok(Answer::AlreadyDone);
        }
        self.transfer(
            posting.key.clone(),
            posting.debit,
            posting.credit,
            posting.amount,
            posting.kind,
            posting.reference,
        )?;
        Ok(Answer::Done)
    }

    /// A guarded account, as the commands so far have left it.
    fn account(&self, id: AccountId) -> Account {
        self.accounts.get(&id).cloned().unwrap_or_else(|| Account::open(id))
    }

    /// Moves money: guarded accounts keep their rows true, every account gets its transfer.
    fn transfer(
        &mut self,
        key: TransferKey,
        debit: AccountId,
        credit: AccountId,
        amount: Msats,
        kind: TransferKind,
        reference: Uuid,
    ) -> Result<(), Refusal> {
        if debit.is_guarded() {
            let account = self.account(debit).debit(amount)?;
            self.accounts.put(debit, account);
        }
        if credit.is_guarded() {
            let account = self.account(credit).credit(amount)?;
            self.accounts.put(credit, account);
        }
        self.write_transfer(key, debit, credit, amount, kind, reference)
    }

    /// Writes a transfer whose guarded accounts have been changed already.
    fn write_transfer(
        &mut self,
        key: TransferKey,
        debit: AccountId,
        credit: AccountId,
        amount: Msats,
        kind: TransferKind,
        reference: Uuid,
    ) -> Result<(), Refusal> {
        let transfer = Transfer { key, debit, credit, amount, kind, reference, created_at: self.now };
        self.draft_transfers.push(transfer.checked()?);
        Ok(())
    }

    fn accept(&mut self) {
        self.accounts.accept();
        self.holds.accept();
        self.invoices.accept();
        self.jobs.accept();
        self.idempotency.accept();
        self.standings.accept();
        self.proofs.accept();
        self.reservations.accept();
        self.tally.accept();
        self.grants.append(&mut self.draft_grants);
        self.posted.extend(self.draft_transfers.iter().map(|transfer| transfer.key.clone()));
        self.transfers.append(&mut self.draft_transfers);
        self.job_changes.append(&mut self.draft_job_changes);
    }

    fn discard(&mut self) {
        self.accounts.discard();
        self.holds.discard();
        self.invoices.discard();
        self.jobs.discard();
        self.idempotency.discard();
        self.standings.discard();
        self.proofs.discard();
        self.reservations.discard();
        self.tally.discard();
        self.draft_grants.clear();
        self.draft_transfers.clear();
        self.draft_job_changes.clear();
    }

    fn into_changes(self) -> Changes {
        Changes {
            holds: self.holds.into_changed(),
            jobs: self.jobs.into_changed(),
            invoices: self.invoices.into_changed(),
            idempotency: self.idempotency.into_changed(),
            accounts: self.accounts.into_changed(),
            identities: self.standings.into_changed(),
            reservations: self.reservations.into_changed(),
            tally: self.tally.into_changed().pop(),
            proofs: self.proofs.into_changed(),
            grants: self.grants,
            transfers: self.transfers,
            job_changes: self.job_changes,
        }
    }
}
