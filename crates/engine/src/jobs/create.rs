//! Creating jobs: see [`crate::purchases`] for the steps.

use super::job_create::JobCreate;
use super::owner::JobOwner;
use super::service::Jobs;
use crate::admission::{Origin, Share};
use crate::books::Refusal;
use crate::books::rows::{self, RowKind};
use crate::error::EngineError;
use crate::idempotency::KeyedResponse;
use crate::identities::RequestSignature;
use crate::payments::{NewInvoice, PaymentOwner};
use crate::purchases::{Buyer, NewPurchase, Purchase, Purchased};
use crate::records::{IdempotencyRequest, StoredResponse};
use crate::store::{Store, StoreError};
use std::sync::Arc;
use tithe_chat::Chat;
use tithe_jobs::{Job, JobId, JobStart, NewJob, WorkPayment};
use tithe_lightning::{Invoice, OwnerId, PaymentHash, Purpose};
use tithe_pricing::Priced;
use tithe_trust::{NostrPubkey, Tier};
use uuid::Uuid;

/// A request for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJobRequest {
    /// The customer's request.
    pub request: String,
    /// The model that the work is to run on; `None` means the operator's choice.
    pub model: Option<String>,
    /// The most output wanted, in tokens.
    pub max_output_tokens: Option<u64>,
    /// How the work is to be paid. Without a hold invoice for it, it is paid beforehand.
    pub payment: WorkPayment,
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
        let buyer = Buyer {
            identity: new.identity,
            signature: new.signature,
            origin: new.origin.clone(),
            idempotency,
            share: Share::All,
        };
        let render = |Purchased { item: job, invoice, tier }: Purchased<Job>| {
            Ok(render(&CreatedJob { claim_token: self.tokens.token(job.id.0), job, invoice, tier }))
        };
        self.purchases.create(id.0, buyer, self.new_job(id, new), &render).await
    }

    /// Checks a request, and prices its evaluation. The work is priced too, so that what can never run is refused before
    /// anybody pays.
    async fn new_job(&self, id: JobId, new: NewJobRequest) -> Result<Job, EngineError> {
        let model = self.quotes.work_model(new.model.as_deref())?;
        self.quotes.check_backend(&model.name)?;
        let terms = self.quotes.terms().await?;
        let _fits =
            self.quotes.work(model, &Chat::of(new.request.as_str()), new.max_output_tokens, &terms)?;
        let evaluation = self.quotes.evaluation(&new.request, &terms)?;
        let job = Job::new(NewJob {
            id,
            request: Arc::from(new.request),
            model: model.name.clone(),
            max_output_tokens: new.max_output_tokens,
            identity: new.identity,
            start: JobStart::Evaluation { fee: evaluation.full_amount()?, quote: evaluation },
            created_at: self.core.now(),
        });
        Ok(Job { work_payment: new.payment, ..job })
    }
}

impl Purchase for Job {
    type Create = JobCreate;
    const NAME: &'static str = rows::Jobs::NAME;

    fn id(&self) -> Uuid {
        self.id.0
    }

    fn identity(&self) -> Option<NostrPubkey> {
        self.identity
    }

    fn first_invoice(&self) -> Option<PaymentHash> {
        self.evaluation_invoice()
    }

    fn has_ended(&self) -> bool {
        self.state.name().is_terminal()
    }

    fn create(&self, new: &NewPurchase<'_>) -> JobCreate {
        JobCreate {
            job: Box::new(self.clone()),
            idempotency: new.idempotency.cloned(),
            signature: new.signature,
            instead_of: new.instead_of.map(JobId),
        }
    }

    fn owner(&self) -> Arc<dyn PaymentOwner> {
        let Self { id, identity, work_payment, .. } = *self;
        Arc::new(JobOwner { job: id, identity, lease: None, work_payment })
    }

    fn invoice(&self) -> NewInvoice {
        NewInvoice {
            owner: OwnerId(self.id.0),
            purpose: Purpose::JobEval,
            nth: 0,
            amount: self.evaluation_fee(),
            // Every node on the way of the payment can read it: no id of ours.
            description: "Tithe: evaluation of a request".to_owned(),
        }
    }

    fn was_abandoned(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::Transition(_))
    }

    async fn stored(store: &dyn Store, id: Uuid) -> Result<Option<Self>, StoreError> {
        store.job(JobId(id)).await
    }
}
