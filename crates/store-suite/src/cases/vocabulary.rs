//! Names that a service adds to Tithe's own: accounts, kinds of transfers, purposes of invoices; and jobs without an evaluation.

use super::{FreshStore, rows};
use crate::scene::{START, invoice, msats, new_job, settlement, work};
use std::sync::Arc;
use tithe_clock::ManualClock;
use tithe_engine::audit::audit;
use tithe_engine::books::{Books, Post, Posted, Posting, Refusal, RowKeys};
use tithe_engine::committer::Committer;
use tithe_engine::identities::RequestSignature;
use tithe_engine::jobs::JobCreate;
use tithe_engine::payments::{
    Credited, InvoiceIssue, Issued, OwnerIssue, PaymentCredit, PaymentOwner, PaymentStep,
};
use tithe_engine::store::AuditRow;
use tithe_jobs::{Job, JobStart, JobState, NewJob};
use tithe_ledger::{AccountId, AccountName, KindName, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceChange, OwnerId, PaymentHash, Purpose, PurposeName};
use uuid::Uuid;

const CUSTOMER: AccountId = AccountId::Owned(AccountName::literal("customer"), Uuid::from_u128(7));
const TIPS: AccountId = AccountId::Custom(AccountName::literal("tips"));
const DEPOSIT: TransferKind = TransferKind::Custom(KindName::literal("card_deposit"));
const TIP: TransferKind = TransferKind::Custom(KindName::literal("tip"));
const TOP_UP: Purpose = Purpose::Custom(PurposeName::literal("customer_top_up"));

/// A customer of a service, as the owner of any number of invoices.
#[derive(Debug)]
struct Customer;

impl PaymentOwner for Customer {
    fn id(&self) -> OwnerId {
        OwnerId(Uuid::from_u128(7))
    }

    fn account(&self) -> AccountId {
        CUSTOMER
    }

    fn payment_kind(&self, _purpose: Purpose) -> TransferKind {
        DEPOSIT
    }

    fn declare(&self, _step: PaymentStep, _keys: &mut RowKeys) {}

    fn verify(&self, _books: &Books<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn invoice_issued(&self, _books: &mut Books<'_>, _invoice: &Invoice) -> Result<OwnerIssue, Refusal> {
        Ok(OwnerIssue::Taken)
    }

    fn payment_credited(
        &self,
        _books: &mut Books<'_>,
        _invoice: &Invoice,
        _arrival: InvoiceChange,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    fn invoice_expired(&self, _books: &mut Books<'_>, _invoice: PaymentHash) -> Result<(), Refusal> {
        Ok(())
    }
}

/// They are stored and read like Tithe's own; the audit of Tithe, whose chart of accounts does not have them, names them.
pub async fn a_services_own_names_come_back_as_they_were_written(store: FreshStore) {
    let committer =
        Committer::start(store.clone(), Arc::new(ManualClock::at(START)), Arc::default(), Arc::new(()));
    let customer: Arc<dyn PaymentOwner> = Arc::new(Customer);
    // Two invoices of one purpose and one owner: both are issued, paid and credited.
    for n in [1, 2] {
        let own = Invoice { owner: customer.id(), ..invoice(n, TOP_UP, START) };
        let issue = InvoiceIssue { owner: customer.clone(), invoice: own.clone(), finish: None };
        assert_eq!(committer.commit(issue).await.unwrap(), Issued::Now);
        assert_eq!(store.invoice(own.payment_hash).await.unwrap(), Some(own.clone()));
        let paid = settlement(n, TOP_UP, own.amount, START);
        let credit = PaymentCredit { owner: customer.clone(), payment: paid };
        let credited = committer.commit(credit).await.unwrap();
        assert_eq!(credited, Credited::Now(InvoiceChange::Paid));
    }
    let deposited = invoice(1, TOP_UP, START).amount.get() * 2;
    let tip = Posting {
        key: TransferKey::new("tip:1"),
        debit: CUSTOMER,
        credit: TIPS,
        amount: msats(5),
        kind: TIP,
        reference: Uuid::nil(),
    };
    assert_eq!(committer.commit(Post(tip.clone())).await.unwrap(), Posted::Now);
    assert_eq!(committer.commit(Post(tip.clone())).await.unwrap(), Posted::Before);
    let stored = store.account(CUSTOMER).await.unwrap().unwrap();
    assert_eq!((stored.id(), stored.balance().get()), (CUSTOMER, deposited - 5));
    assert_eq!(store.account(TIPS).await.unwrap(), None, "it is the sum of its transfers");
    let written = rows(&store).await.into_iter().find_map(|row| match row {
        AuditRow::Transfer(transfer) if transfer.kind == TIP => Some(transfer),
        _ => None,
    });
    let written = written.unwrap();
    assert_eq!((written.debit, written.credit, written.amount), (CUSTOMER, TIPS, msats(5)));
    let findings: Vec<String> =
        audit(store.as_ref()).await.unwrap().findings.iter().map(ToString::to_string).collect();
    assert!(
        findings.contains(&format!("I1 transfer tip:1: a tip cannot move money from {CUSTOMER} to tips")),
        "{findings:?}"
    );
}

/// A job that begins with its work comes back as it was written.
pub async fn a_job_without_an_evaluation_comes_back_as_it_was_written(store: FreshStore) {
    let committer =
        Committer::start(store.clone(), Arc::new(ManualClock::at(START)), Arc::default(), Arc::new(()));
    let with = new_job(1, START);
    let job = Job::new(NewJob {
        id: with.id,
        request: with.request.clone(),
        model: with.model.clone(),
        max_output_tokens: None,
        identity: None,
        start: JobStart::Work(work()),
        created_at: START,
    });
    assert_eq!(job.state, JobState::AwaitingWorkPayment { work: work(), invoice: None });
    let create = JobCreate {
        job: Box::new(job.clone()),
        idempotency: None,
        signature: RequestSignature(None),
        instead_of: None,
    };
    committer.commit(create).await.unwrap();
    assert_eq!(store.job(job.id).await.unwrap(), Some(job));
}
