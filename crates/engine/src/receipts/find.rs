//! Finding out what was charged for a piece of work.

use super::charges::{ChargeAmounts, booked, keys_of};
use super::receipt::{ChargedPart, Part, Receipt, ReceiptOutcome, ReceiptPayment, WorkKind};
use super::service::{ReceiptPayer, ReceiptReader, Receipts};
use crate::error::EngineError;
use crate::jobs::evaluation_key;
use crate::sessions::{PaidRequest, TRIES_MAX};
use tithe_clock::Timestamp;
use tithe_free_tier::{GrantId, RequestHash, work_key};
use tithe_jobs::{Job, JobId, JobState};
use tithe_ledger::credits::CreditId;
use tithe_ledger::{HoldId, Transfer, TransferKey};
use tithe_lightning::{Invoice, InvoiceState};
use tithe_money::{BtcPrice, MoneyError, Msats};
use tithe_sessions::{RequestId, RequestState, Session, SessionRequest};
use uuid::Uuid;

impl Receipts {
    /// The receipt of a request, if there is one that the reader may read.
    pub(super) async fn find_request(
        &self,
        id: Uuid,
        reader: &ReceiptReader,
    ) -> Result<Option<Receipt>, EngineError> {
        let store = &self.core.ports.store;
        if let Some(request) = store.session_request(RequestId(id)).await? {
            return if reader.may_read(&request) { self.of_request(&request).await } else { Ok(None) };
        }
        self.find_ask(id, reader).await
    }

    /// The receipt of the request that a payment has bought, if it has bought one.
    pub(super) async fn find_bought(&self, paid: &PaidRequest) -> Result<Option<Receipt>, EngineError> {
        let requests = self.core.ports.store.session_requests(paid.session, None, TRIES_MAX + 1).await?;
        let reader =
            ReceiptReader { payer: Some(ReceiptPayer::Payment(paid.clone())), ..ReceiptReader::default() };
        match requests.iter().find(|request| request.cost().is_some()) {
            Some(bought) if reader.may_read(bought) => self.of_request(bought).await,
            _ => Ok(None),
        }
    }

    async fn of_request(&self, request: &SessionRequest) -> Result<Option<Receipt>, EngineError> {
        let Some(ended) = request.cost() else { return Ok(None) };
        let base = HoldId(request.id.0).charge_key();
        let (amounts, at) = self.charged(&base, request.updated_at).await?;
        let result = match &request.state {
            RequestState::Complete { result, .. } => Some(result),
            _ => None,
        };
        let session = self.core.ports.store.session(request.session).await?;
        let one = session.filter(|session| session.kind.one_request().is_some());
        let btc_price = ended.basis.map(|basis| basis.btc_price);
        Ok(Some(Receipt {
            id: request.id.0,
            kind: if one.is_some() { WorkKind::PaidRequest } else { WorkKind::SessionRequest },
            outcome: if result.is_some() { ReceiptOutcome::Complete } else { ReceiptOutcome::Rejected },
            model: Some(request.model.clone()),
            backend: result.and_then(|result| result.backend.clone()),
            request_hash: ended.basis.map(|basis| RequestHash::from_bytes(basis.request_sha256)),
            usage: result.map(|result| (result.usage, result.estimated)),
            charges: vec![ChargedPart { part: Part::Work, amounts, btc_price, at }],
            payment: one.as_ref().map(payment_of),
            at,
        }))
    }

    /// The receipt of a job, if it has ended and something was charged for it, or its work is done.
    pub(super) async fn find_job(&self, id: Uuid) -> Result<Option<Receipt>, EngineError> {
        let store = &self.core.ports.store;
        let Some(job) = store.job(JobId(id)).await? else { return Ok(None) };
        let Some(outcome) = outcome_of(&job.state) else { return Ok(None) };
        let (evaluation, work) = (evaluation_key(job.id), work_key(id));
        let mut keys = keys_of(&work);
        keys.push(evaluation.clone());
        let transfers = store.transfers_with_keys(&keys).await?;
        let mut charges = Vec::new();
        let quoted = job.evaluation.as_ref().map(|evaluation| evaluation.quote.terms.btc.price);
        charges.extend(part(&transfers, Part::Evaluation, &evaluation, quoted)?);
        let quoted = job.state.work().map(|work| work.quote.terms.btc.price);
        charges.extend(part(&transfers, Part::Work, &work, quoted)?);
        if charges.is_empty() && outcome != ReceiptOutcome::Complete {
            return Ok(None);
        }
        let completion = match &job.state {
            JobState::Complete { completion, .. } => Some(completion),
            _ => None,
        };
        // What was deleted is not hashed.
        let request_hash = job.text_deleted_at.is_none().then(|| RequestHash::of(&job.request));
        let request_hash = match request_hash {
            Some(hash) => Some(hash),
            None => store.grant(GrantId(id)).await?.map(|grant| grant.request_hash),
        };
        Ok(Some(Receipt {
            id,
            kind: WorkKind::Job,
            outcome,
            model: Some(job.model.clone()),
            backend: None,
            request_hash,
            usage: completion.map(|completion| (completion.usage, completion.estimated)),
            at: charges.iter().map(|charge| charge.at).max().unwrap_or(job.updated_at),
            charges,
            payment: self.payment_of_job(&job).await?,
        }))
    }

    async fn payment_of_job(&self, job: &Job) -> Result<Option<ReceiptPayment>, EngineError> {
        let mut payment =
            ReceiptPayment { payment_hashes: Vec::new(), paid: Msats::ZERO, refunded: job.refund.amount() };
        for hash in [job.evaluation_invoice(), job.state.work_invoice()].into_iter().flatten() {
            let invoice = self.core.ports.store.invoice(hash).await?;
            if let Some(Invoice { state: InvoiceState::Paid { received, .. }, .. }) = invoice {
                payment.payment_hashes.push(hash);
                payment.paid = payment.paid.checked_add(received).map_err(out_of_range)?;
            }
        }
        Ok(Some(payment).filter(|payment| !payment.payment_hashes.is_empty()))
    }

    /// The receipt of a request that no session paid for: of the reader's identity, or of the reader's install.
    async fn find_ask(&self, id: Uuid, reader: &ReceiptReader) -> Result<Option<Receipt>, EngineError> {
        let store = &self.core.ports.store;
        let grant = store.grant(GrantId(id)).await?;
        let grant = grant.filter(|grant| reader.identity == Some(grant.pubkey));
        let credit = match reader.install {
            Some(install) => store.credit(CreditId(id)).await?.filter(|credit| credit.install == install),
            None => None,
        };
        let credit = credit.filter(|credit| credit.state.taken().is_some());
        let Some(ended) = grant.as_ref().map(|grant| grant.created_at).or(credit.map(|it| it.updated_at))
        else {
            return Ok(None);
        };
        let (amounts, at) = self.charged(&work_key(id), ended).await?;
        Ok(Some(Receipt {
            id,
            kind: WorkKind::Ask,
            outcome: ReceiptOutcome::Complete,
            model: None,
            backend: None,
            request_hash: grant.map(|grant| grant.request_hash),
            usage: None,
            charges: vec![ChargedPart { part: Part::Work, amounts, btc_price: None, at }],
            payment: None,
            at,
        }))
    }

    /// What a settlement has booked, and when; nothing, at `ended`, if it had nothing to book.
    async fn charged(
        &self,
        base: &TransferKey,
        ended: Timestamp,
    ) -> Result<(ChargeAmounts, Timestamp), EngineError> {
        let transfers = self.core.ports.store.transfers_with_keys(&keys_of(base)).await?;
        let booked = booked(&transfers, base).map_err(out_of_range)?;
        Ok(booked.unwrap_or((ChargeAmounts::default(), ended)))
    }
}

/// A part of a job, if it was charged.
fn part(
    transfers: &[Transfer],
    part: Part,
    base: &TransferKey,
    btc_price: Option<BtcPrice>,
) -> Result<Option<ChargedPart>, EngineError> {
    let booked = booked(transfers, base).map_err(out_of_range)?;
    Ok(booked.map(|(amounts, at)| ChargedPart { part, amounts, btc_price, at }))
}

/// How a job has ended; `None` if it has not.
const fn outcome_of(state: &JobState) -> Option<ReceiptOutcome> {
    match state {
        JobState::Complete { .. } => Some(ReceiptOutcome::Complete),
        JobState::Rejected { .. } => Some(ReceiptOutcome::Rejected),
        JobState::Failed { .. } => Some(ReceiptOutcome::Failed),
        JobState::Expired { .. } => Some(ReceiptOutcome::Expired),
        JobState::AwaitingEvalPayment
        | JobState::Evaluating
        | JobState::Accepted { .. }
        | JobState::AwaitingWorkPayment { .. }
        | JobState::Executing { .. }
        | JobState::Held { .. }
        | JobState::Settling { .. }
        | JobState::Cancelling { .. } => None,
    }
}

/// The payment of a session that pays for one request.
fn payment_of(session: &Session) -> ReceiptPayment {
    ReceiptPayment {
        payment_hashes: session.deposit_invoice.into_iter().collect(),
        paid: session.paid_in,
        refunded: session.end().unwrap_or_default().refund,
    }
}

/// Amounts of the ledger add up.
fn out_of_range(_: MoneyError) -> EngineError {
    EngineError::Internal
}
