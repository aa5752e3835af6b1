//! Creating jobs.
//!
//! Creating a job is a saga of three steps:
//!
//! 1. `JobCreate` is committed: the job, without an invoice, and the client's idempotency key, which points at it.
//! 2. The wallet makes the evaluation invoice, under an id that follows from the job's id.
//! 3. `InvoiceIssue` is committed: the invoice, the job's step, and the response that the key will replay.
//!
//! A crash after 1 leaves a job that nobody was shown: a retry with the same key resumes it with 2; without a retry, the sweep
//! abandons it. A crash after 2 leaves an invoice at the wallet that nobody was shown. No money can be lost, because an
//! invoice is shown only after 3.

use super::job_create::{JobCreate, JobCreated};
use super::owner::JobOwner;
use super::service::Jobs;
use crate::admission::Origin;
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::committer::CommitError;
use crate::error::EngineError;
use crate::idempotency::{IdempotencyFinish, KeyedResponse};
use crate::identities::RequestSignature;
use crate::payments::{InvoiceIssue, Issued, NewInvoice};
use crate::quotes::Quotes;
use crate::records::{IdempotencyId, IdempotencyRequest, StoredResponse};
use std::sync::Arc;
use tithe_jobs::{Job, JobId, JobStart, NewJob};
use tithe_lightning::{Invoice, OwnerId, Purpose};
use tithe_pricing::Priced;
use tithe_trust::{NostrPubkey, Tier};
use tracing::{info, warn};

/// A request for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJobRequest {
    /// The customer's request.
    pub request: String,
    /// The model that the work is to run on; `None` means the operator's choice.
    pub model: Option<String>,
    /// The most output wanted, in tokens.
    pub max_output_tokens: Option<u64>,
    /// The customer's identity; `None` means anonymous.
    pub identity: Option<NostrPubkey>,
    /// The signature of the request. It is consumed when the job is recorded, so that the same request can be sent again after a
    /// refusal.
    pub signature: RequestSignature,
    /// Where the request comes from; `None` means that the limits of one origin do not apply.
    pub origin: Option<Origin>,
}

/// A job that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedJob {
    /// The job.
    pub job: Job,
    /// The invoice for the evaluation.
    pub invoice: Invoice,
    /// The token that proves that its holder created the job.
    pub claim_token: String,
    /// The tier of the job's identity.
    pub tier: Tier,
}

/// Renders the response that is given for a job, and stored for its idempotency key.
pub type RenderJob<'a> = &'a (dyn Fn(&CreatedJob) -> StoredResponse + Send + Sync);

impl Jobs {
    /// Creates a job and the invoice for its evaluation.
    ///
    /// # Errors
    /// [`EngineError`]; in each case nothing can be paid, and repeating the request with the same key makes no second job.
    pub async fn create(
        &self,
        new: NewJobRequest,
        idempotency: Option<IdempotencyRequest>,
        render: RenderJob<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        if let Some(request) = &idempotency
            && let Some(response) = self.idempotency.stored(request).await?
        {
            return Ok(KeyedResponse::replay(response));
        }
        // What is cheap comes first: whoever has too many unpaid jobs does not make the server count tokens.
        self.quotes.check_text(&new.request)?;
        let id = JobId(self.core.new_id());
        self.admission.admit(id.0, new.identity, new.origin.clone()).await?;
        let signature = new.signature;
        let creating = async {
            let job = Box::new(self.new_job(id, new).await?);
            self.create_admitted(job, signature, idempotency, render).await
        };
        let created = creating.await;
        // Only a new job whose invoice is shown waits for its payment.
        if created.as_ref().map_or(true, |response| response.replayed) {
            self.admission.release(id.0);
        }
        created
    }

    async fn create_admitted(
        &self,
        job: Box<Job>,
        signature: RequestSignature,
        idempotency: Option<IdempotencyRequest>,
        render: RenderJob<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        let key = idempotency.as_ref().map(|request| request.id.clone());
        let create = |signature, instead_of| JobCreate {
            job: job.clone(),
            idempotency: idempotency.clone(),
            signature,
            instead_of,
        };
        let begun = match self.core.committer.commit(create(signature, None)).await? {
            JobCreated::Replayed(response) => return Ok(KeyedResponse::replay(response)),
            JobCreated::Resumed { subject } => {
                self.admission.release(job.id.0);
                self.resumed(subject).await?
            }
            JobCreated::New => {
                info!(job = %job.id, model = job.model, bytes = job.request.len(), "job created");
                *job.clone()
            }
        };
        if begun.state.name().is_terminal() && begun.evaluation_invoice().is_none() {
            info!(job = %begun.id, instead = %job.id, "abandoned job replaced by a new one");
            let again = create(RequestSignature(None), Some(begun.id));
            if let JobCreated::Replayed(response) = self.core.committer.commit(again).await? {
                return Ok(KeyedResponse::replay(response));
            }
            return self.invoice_or_release(*job, key, render).await;
        }
        self.invoice_or_release(begun, key, render).await
    }

    /// The job that an earlier request with the same key has made.
    async fn resumed(&self, subject: Option<uuid::Uuid>) -> Result<Job, EngineError> {
        let Some(subject) = subject else {
            warn!("an idempotency key of a job has no subject");
            return Err(EngineError::Internal);
        };
        let stored = self.core.ports.store.job(JobId(subject)).await?;
        let job = stored.ok_or_else(|| EngineError::not_found(rows::Jobs::NAME, &subject))?;
        info!(job = %job.id, "job resumed");
        Ok(job)
    }

    /// Checks a request, and prices its evaluation. The work is priced too, so that what can never run is refused before
    /// anybody pays.
    async fn new_job(&self, id: JobId, new: NewJobRequest) -> Result<Job, EngineError> {
        let model = self.quotes.work_model(new.model.as_deref())?;
        self.quotes.check_backend(&model.name)?;
        let terms = self.quotes.terms().await?;
        let _fits = Quotes::work(model, &new.request, new.max_output_tokens, &terms)?;
        let evaluation = self.quotes.evaluation(&new.request, &terms)?;
        Ok(Job::new(NewJob {
            id,
            request: Arc::from(new.request),
            model: model.name.clone(),
            max_output_tokens: new.max_output_tokens,
            identity: new.identity,
            start: JobStart::Evaluation { fee: evaluation.full_amount()?, quote: evaluation },
            created_at: self.core.now(),
        }))
    }

    /// Takes steps 2 and 3. If they fail, a retry with the same key may begin at once.
    async fn invoice_or_release(
        &self,
        job: Job,
        key: Option<IdempotencyId>,
        render: RenderJob<'_>,
    ) -> Result<KeyedResponse, EngineError> {
        let id = job.id;
        match self.invoice_first(job, key.as_ref(), render).await {
            Ok(response) => Ok(KeyedResponse::new(response)),
            Err(failure) => {
                if let Some(id) = key {
                    self.idempotency.release(id).await;
                }
                warn!(job = %id, %failure, "the new job got no invoice");
                Err(failure)
            }
        }
    }

    async fn invoice_first(
        &self,
        job: Job,
        key: Option<&IdempotencyId>,
        render: RenderJob<'_>,
    ) -> Result<StoredResponse, EngineError> {
        let id = job.id;
        let claim_token = self.tokens.token(id);
        if job.evaluation_invoice().is_none() {
            let owner = Arc::new(JobOwner { job: id, identity: job.identity, lease: None });
            let invoice = self.payments.mint(&eval_invoice(&job)).await?;
            let tier = self.identities.tier_of(job.identity).await?;
            let created = CreatedJob { job, invoice, claim_token: claim_token.clone(), tier };
            let response = render(&created);
            let finish = key.map(|key| (key.clone(), response.clone()));
            let issue = InvoiceIssue { owner, invoice: created.invoice, finish };
            match self.core.committer.commit(issue).await {
                Ok(Issued::Now) => return Ok(response),
                // A wallet that knows invoices by our id gives two servers the same one.
                Ok(Issued::AnotherExists) | Err(CommitError::Refused(Refusal::Exists { .. })) => {}
                // The sweep abandoned the job while the wallet took its time. Repeating the request makes a new job.
                Err(CommitError::Refused(Refusal::Transition(_))) => return Err(EngineError::NoWallet),
                Err(failure) => return Err(failure.into()),
            }
        }
        // Another server has issued the invoice meanwhile: that one counts.
        let view = self.view_as_stored(id).await?;
        let Some(invoice) = view.eval_invoice else {
            warn!(job = %id, "the evaluation invoice of a job is not stored");
            return Err(EngineError::Internal);
        };
        let response = render(&CreatedJob { job: view.job, invoice, claim_token, tier: view.tier });
        if let Some(key) = key {
            let finish = IdempotencyFinish { id: key.clone(), response: response.clone() };
            self.core.committer.commit(finish).await?;
        }
        Ok(response)
    }
}

fn eval_invoice(job: &Job) -> NewInvoice {
    NewInvoice {
        owner: OwnerId(job.id.0),
        purpose: Purpose::JobEval,
        nth: 0,
        amount: job.evaluation_fee(),
        // Every node on the way of the payment can read it: no id of ours.
        description: "Tithe: evaluation of a request".to_owned(),
    }
}
