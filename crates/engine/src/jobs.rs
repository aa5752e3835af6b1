//! Creating and reading jobs.
//!
//! Creating one is a saga of three steps:
//!
//! 1. `JobCreate` is committed: the job, without an invoice, and the client's idempotency key, pointing at it.
//! 2. The wallet makes the evaluation invoice, under a name that follows from the job's id.
//! 3. `InvoiceIssue` is committed: the invoice, the job's step, and the answer that the key will replay.
//!
//! A crash after 1 leaves a job that nobody was told of: a retry with the same key takes it over and goes on with 2; without
//! one, the sweep gives it up. A crash after 2 leaves an invoice at the wallet that nobody was shown. No money can be lost:
//! an invoice is shown only after 3.

use crate::commands::{Answer, Command, Refusal};
use crate::committer::{CommitError, chain};
use crate::idempotency::{IdempotencyId, IdempotencyRequest, IdempotencyState, StoredAnswer};
use crate::{Engine, EngineError};
use std::sync::Arc;
use std::time::Duration;
use tithe_jobs::{Job, JobEvent, JobId, NewJob};
use tithe_lightning::{
    Bolt11, ExpectedInvoice, Invoice, InvoiceId, InvoiceRequest, OwnerId, Purpose, WalletError,
};
use tithe_money::Sats;
use tithe_trust::{NostrPubkey, Tier};
use tracing::{info, warn};

/// How often a wallet is asked again when its answer was lost.
const MINT_ATTEMPTS: u32 = 3;

/// How many jobs may be without an invoice at once, because the wallet makes none.
const UNINVOICED_MAX: usize = 1_000;

/// How long an invoice must at least still be payable when it is shown.
const LIFE_LEFT_MIN: Duration = Duration::from_mins(1);

/// A job that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJobRequest {
    /// What is asked.
    pub request: String,
    /// The model that the work is to run on; the operator's choice when `None`.
    pub model: Option<String>,
    /// The most output wanted, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Who asks; `None`: anonymous.
    pub identity: Option<NostrPubkey>,
}

/// A job that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedJob {
    /// The job.
    pub job: Job,
    /// The evaluation's invoice.
    pub invoice: Invoice,
    /// What proves that one made it.
    pub claim_token: String,
    /// The tier of who asks.
    pub tier: Tier,
}

/// An answer, new or as it was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: StoredAnswer,
    /// Whether it was given before.
    pub replayed: bool,
}

/// A job with its invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The job.
    pub job: Job,
    /// The evaluation's invoice.
    pub eval_invoice: Option<Invoice>,
    /// The work's invoice.
    pub work_invoice: Option<Invoice>,
    /// The tier of the job's identity, now.
    pub tier: Tier,
}

impl Engine {
    /// Makes a job and the invoice for its evaluation. `render` writes the answer that is given, and kept for the key.
    ///
    /// # Errors
    /// [`EngineError`]; in each case nothing can be paid, and asking again with the same key makes no second job.
    pub async fn job_create(
        &self,
        new: NewJobRequest,
        idempotency: Option<IdempotencyRequest>,
        render: &(dyn Fn(&CreatedJob) -> StoredAnswer + Send + Sync),
    ) -> Result<Answered, EngineError> {
        if let Some(request) = &idempotency
            && let Some(answer) = self.answer_kept(request).await?
        {
            return Ok(Answered { answer, replayed: true });
        }
        let job = Box::new(self.new_job(new).await?);
        let key = idempotency.as_ref().map(|request| request.id.clone());
        let create = |instead_of| Command::JobCreate {
            job: job.clone(),
            idempotency: idempotency.clone(),
            instead_of,
        };
        let begun = match self.committer.commit(create(None)).await? {
            Answer::Replayed(answer) => return Ok(Answered { answer, replayed: true }),
            Answer::Resumed { subject: Some(subject) } => {
                let id = JobId(subject);
                let begun = self.ports.store.job(id).await?.ok_or(EngineError::NoSuchJob(id))?;
                info!(job = %begun.id, "a job that was begun earlier is taken up again");
                begun
            }
            _ => {
                info!(job = %job.id, model = job.model, bytes = job.request.len(), "a job was asked for");
                *job.clone()
            }
        };
        if begun.state.name().is_terminal() && begun.evaluation.invoice.is_none() {
            info!(job = %begun.id, instead = %job.id, "a job that was given up is begun anew");
            if let Answer::Replayed(answer) = self.committer.commit(create(Some(begun.id))).await? {
                return Ok(Answered { answer, replayed: true });
            }
            return self.job_invoice_first(*job, key, render).await;
        }
        self.job_invoice_first(begun, key, render).await
    }

    /// What was answered to this request before, if anything was. Begins nothing.
    ///
    /// # Errors
    /// [`EngineError::IdempotencyKeyReused`], [`EngineError::Busy`].
    pub async fn answered(
        &self,
        request: Option<&IdempotencyRequest>,
    ) -> Result<Option<Answered>, EngineError> {
        let Some(request) = request else { return Ok(None) };
        let answer = self.answer_kept(request).await?;
        Ok(answer.map(|answer| Answered { answer, replayed: true }))
    }

    /// The answer that was given to this request before. It is given again whatever has become of prices and models.
    async fn answer_kept(&self, request: &IdempotencyRequest) -> Result<Option<StoredAnswer>, EngineError> {
        let kept =
            self.ports.store.idempotency(&request.id).await?.filter(|kept| self.now() < kept.expires_at);
        let Some(kept) = kept else { return Ok(None) };
        if kept.fingerprint != request.fingerprint {
            return Err(EngineError::IdempotencyKeyReused);
        }
        Ok(match kept.state {
            IdempotencyState::Done(answer) => Some(answer),
            IdempotencyState::InProgress { .. } => None,
        })
    }

    /// A job and its invoices. An unpaid invoice is looked up at the wallet first, at most once a second.
    ///
    /// # Errors
    /// [`EngineError::NoSuchJob`], [`EngineError::Busy`].
    pub async fn job_view(&self, id: JobId) -> Result<JobView, EngineError> {
        let view = self.job_view_as_stored(id).await?;
        let waiting = [&view.eval_invoice, &view.work_invoice];
        let mut moved = false;
        for invoice in waiting.into_iter().flatten() {
            moved |= self.invoice_check_on_read(invoice).await;
        }
        if moved { self.job_view_as_stored(id).await } else { Ok(view) }
    }

    pub(crate) async fn job_view_as_stored(&self, id: JobId) -> Result<JobView, EngineError> {
        let job = self.ports.store.job(id).await?.ok_or(EngineError::NoSuchJob(id))?;
        let mut invoices = [job.evaluation.invoice, job.state.work_invoice()].into_iter();
        let mut next = async || match invoices.next().flatten() {
            Some(hash) => self.ports.store.invoice(hash).await,
            None => Ok(None),
        };
        let (eval_invoice, work_invoice) = (next().await?, next().await?);
        let tier = self.tier_of(job.identity).await?;
        Ok(JobView { job, eval_invoice, work_invoice, tier })
    }

    /// Checks what is asked, and prices its evaluation. The work is priced too, so that what can never run is refused
    /// before anybody pays.
    async fn new_job(&self, new: NewJobRequest) -> Result<Job, EngineError> {
        let model = self.work_model(new.model.as_deref())?;
        self.check_text(&new.request)?;
        let store = &self.ports.store;
        let begun = store.jobs_never_invoiced(self.now(), UNINVOICED_MAX).await?;
        if begun.len() >= UNINVOICED_MAX
            || store.invoices_pending_count().await? >= self.settings.max_unpaid_invoices
        {
            return Err(EngineError::TooManyUnpaid);
        }
        let terms = self.terms().await?;
        let _fits = model.quote(&[&new.request], new.max_output_tokens, &terms)?;
        let evaluation = self.quote_evaluation(&new.request, &terms)?;
        Ok(Job::new(NewJob {
            id: JobId(self.new_id()),
            request: Arc::from(new.request),
            model: model.name.clone(),
            max_output_tokens: new.max_output_tokens,
            identity: new.identity,
            evaluation_fee: evaluation.full_amount()?,
            evaluation,
            created_at: self.now(),
        }))
    }

    /// Steps 2 and 3 of a new job.
    async fn job_invoice_first(
        &self,
        job: Job,
        key: Option<IdempotencyId>,
        render: &(dyn Fn(&CreatedJob) -> StoredAnswer + Send + Sync),
    ) -> Result<Answered, EngineError> {
        let id = job.id;
        match self.job_invoice_first_unless_it_fails(job, key.as_ref(), render).await {
            Ok(answer) => Ok(Answered { answer, replayed: false }),
            Err(failure) => {
                if let Some(id) = key {
                    // A retry may go on at once. If even this cannot be written, the key's lease runs out.
                    let _later = self.committer.commit(Command::IdempotencyRelease { id }).await;
                }
                warn!(job = %id, %failure, "a new job got no invoice");
                Err(failure)
            }
        }
    }

    async fn job_invoice_first_unless_it_fails(
        &self,
        job: Job,
        key: Option<&IdempotencyId>,
        render: &(dyn Fn(&CreatedJob) -> StoredAnswer + Send + Sync),
    ) -> Result<StoredAnswer, EngineError> {
        let id = job.id;
        let claim_token = self.tokens.token(id);
        if job.evaluation.invoice.is_none() {
            let invoice = self.invoice_mint(&job, Purpose::JobEval, job.evaluation.fee).await?;
            let invoiced = job
                .apply(JobEvent::EvalInvoiced { invoice: invoice.payment_hash }, self.now())
                .map_err(|_| EngineError::NoSuchJob(id))?;
            let tier = self.tier_of(invoiced.identity).await?;
            let created = CreatedJob { job: invoiced, invoice, claim_token: claim_token.clone(), tier };
            let answer = render(&created);
            let finish = key.map(|key| (key.clone(), answer.clone()));
            let issue = Command::InvoiceIssue { job: id, invoice: created.invoice, lease: None, finish };
            match self.committer.commit(issue).await {
                // A wallet that knows the invoice's name gives two servers the same one.
                Ok(Answer::AlreadyDone) | Err(CommitError::Refused(Refusal::Exists(_))) => {}
                Ok(_) => return Ok(answer),
                // The sweep gave the job up while the wallet took its time. Asking again begins anew.
                Err(CommitError::Refused(Refusal::Transition(_))) => return Err(EngineError::NoWallet),
                Err(failure) => return Err(failure.into()),
            }
        }
        // Another server has made the invoice meanwhile: theirs is the one.
        let view = self.job_view_as_stored(id).await?;
        let invoice = view.eval_invoice.ok_or(EngineError::Internal)?;
        let answer = render(&CreatedJob { job: view.job, invoice, claim_token, tier: view.tier });
        if let Some(key) = key {
            let finish = Command::IdempotencyFinish { id: key.clone(), answer: answer.clone() };
            self.committer.commit(finish).await?;
        }
        Ok(answer)
    }

    /// Has the wallet make an invoice for a job, and checks it.
    pub(crate) async fn invoice_mint(
        &self,
        job: &Job,
        purpose: Purpose,
        amount: Sats,
    ) -> Result<Invoice, EngineError> {
        let owner = OwnerId(job.id.0);
        let what = match purpose {
            Purpose::JobEval => "evaluation of",
            Purpose::JobWork => "work for",
        };
        let request = InvoiceRequest {
            id: InvoiceId::of(purpose, owner),
            amount,
            description: format!("Tithe: {what} job {}", job.id),
            expiry: self.settings.invoice_expiry,
        };
        let bolt11 = self.invoice_mint_bolt11(&request).await?;
        let expected = ExpectedInvoice {
            network: self.ports.wallet.network(),
            amount: amount.to_msats(),
            payment_hash: None,
            // One that was made before a crash is as good as new while it can still be paid in peace.
            expires_after: self.now() + (self.settings.invoice_expiry / 2).min(LIFE_LEFT_MIN),
        };
        if let Err(mismatch) = bolt11.check(&expected) {
            warn!(job = %job.id, %mismatch, "the wallet made another invoice than it was asked for");
            return Err(EngineError::NoWallet);
        }
        Ok(Invoice::issue(&bolt11, purpose, owner, amount.to_msats()))
    }

    /// A lost answer is asked for again: the invoice has our name, and one that nobody is shown harms nobody.
    async fn invoice_mint_bolt11(&self, request: &InvoiceRequest) -> Result<Bolt11, EngineError> {
        for attempt in 1..=MINT_ATTEMPTS {
            let made = self.ports.wallet.invoice_create(request);
            let failure = match tokio::time::timeout(self.settings.wallet_timeout, made).await {
                Ok(Ok(bolt11)) => return Ok(bolt11),
                Ok(Err(failure)) => failure,
                Err(_elapsed) => WalletError::OutcomeUnknown(None),
            };
            warn!(attempt, failure = chain(&failure), "the wallet made no invoice");
            if !matches!(failure, WalletError::OutcomeUnknown(_)) {
                break;
            }
        }
        Err(EngineError::NoWallet)
    }
}
