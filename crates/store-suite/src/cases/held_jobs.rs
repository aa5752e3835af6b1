//! Jobs whose payment is held.

use super::{FreshStore, assert_sound};
use crate::command::Command;
use crate::scene::{
    START, accepted, claim, invoice, job_id, msats, new_job, pay, preimage, settlement, usage, work,
};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::ManualClock;
use tithe_engine::committer::Committer;
use tithe_engine::jobs::{Fault, HoldEnd, JobOwner, Verdict, WorkFinish, WorkOutcome};
use tithe_engine::payments::{
    Credited, InvoiceIssue, Issued, PaymentCredit, PaymentHeld, PaymentHold, PaymentOwner,
};
use tithe_jobs::{FinishReason, Job, JobState, Lease, Refund, StateName, WorkPayment};
use tithe_ledger::AccountId;
use tithe_lightning::{HeldPayment, InvoiceChange, Purpose};

fn committer(store: &FreshStore) -> Committer {
    Committer::start(store.clone(), Arc::new(ManualClock::at(START)), Arc::default(), Arc::new(()))
}

fn owner(n: u8, lease: Option<Lease>) -> Arc<dyn PaymentOwner> {
    Arc::new(JobOwner { job: job_id(n), identity: None, lease, work_payment: WorkPayment::Held })
}

async fn job(store: &FreshStore, n: u8) -> Job {
    store.job(job_id(n)).await.unwrap().unwrap()
}

/// Claims job `n`, which must have something to do.
async fn lease(store: &FreshStore, n: u8) -> Lease {
    let jobs = store.jobs_claim(&claim(1, START, 100)).await.unwrap();
    jobs.iter().find(|job| job.id == job_id(n)).expect("the job can be claimed").lease
}

/// Job `n`, with a hold invoice for its work.
async fn invoiced(store: &FreshStore, n: u8) {
    let held = Job { work_payment: WorkPayment::Held, ..new_job(n, START) };
    let (job, identity) = (job_id(n), None);
    let create = Command::JobCreate { job: Box::new(held), idempotency: None, instead_of: None };
    accepted(store.as_ref(), create, START).await;
    let invoice_eval = invoice(n, Purpose::JobEval, START);
    let issue = Command::InvoiceIssue { job, identity, invoice: invoice_eval, lease: None, finish: None };
    accepted(store.as_ref(), issue, START).await;
    accepted(store.as_ref(), pay(n, Purpose::JobEval, START), START).await;
    let claimed = lease(store, n).await;
    let verdict = Verdict::Accepted(work());
    accepted(store.as_ref(), Command::EvaluationFinish { job, identity, lease: claimed, verdict }, START)
        .await;
    let lease = self::job(store, n).await.lease;
    let invoice = invoice(n, Purpose::JobWork, START);
    let issue = InvoiceIssue { owner: owner(n, Some(lease)), invoice, finish: None };
    assert_eq!(committer(store).commit(issue).await.unwrap(), Issued::Now);
}

/// Reports the payment of the work of job `n` as held.
async fn hold(store: &FreshStore, n: u8) -> PaymentHeld {
    let payment_hash = preimage(n, Purpose::JobWork).payment_hash();
    let amount = work().amount.to_msats();
    let payment = HeldPayment { payment_hash, amount, held_until: Some(START + Duration::from_hours(2)) };
    committer(store).commit(PaymentHold { owner: owner(n, None), payment }).await.unwrap()
}

/// Ends the work of job `n`, whose payment is held.
async fn finish(store: &FreshStore, n: u8, outcome: WorkOutcome) -> Job {
    let lease = lease(store, n).await;
    let finish = WorkFinish { job: job_id(n), identity: None, lease, outcome };
    let finished = *committer(store).commit(finish).await.unwrap();
    assert_eq!(job(store, n).await, finished, "it comes back as it was written");
    finished
}

fn completed() -> WorkOutcome {
    WorkOutcome::Completed {
        text: Arc::from("an answer: ☃"),
        estimated: true,
        usage: usage(50),
        finish: FinishReason::Length,
        rates: None,
    }
}

async fn end(store: &FreshStore, held: &Job) -> Job {
    let end = HoldEnd { job: held.id, identity: None, lease: held.lease };
    *committer(store).commit(end).await.unwrap()
}

/// What a server of an older release could write of a job, which it takes for one that waits for a payment: the payment is credited, or the
/// job expires; and its columns as they were when it read them.
pub const WRITTEN_BY_AN_OLDER_RELEASE: [&str; 3] =
    ["state = 'executing'", "state = 'expired'", "state = 'complete'"];

/// Jobs 1 to 4: a payment that is held, one that is being taken, one that is being given back, and one that may come.
pub async fn a_job_of_each_step(store: &FreshStore) -> [Job; 4] {
    for n in 1..=4 {
        invoiced(store, n).await;
    }
    for n in 1..=3 {
        hold(store, n).await;
    }
    store.jobs_claim(&claim(1, START, 100)).await.unwrap();
    let fails = WorkOutcome::Failed { message: "broken".to_owned(), fault: Fault::Server };
    for (n, outcome) in [(2, completed()), (3, fails)] {
        let lease = job(store, n).await.lease;
        let finish = WorkFinish { job: job_id(n), identity: None, lease, outcome };
        committer(store).commit(finish).await.unwrap();
    }
    [job(store, 1).await, job(store, 2).await, job(store, 3).await, job(store, 4).await]
}

/// The payment is noted once; when it is settled, it is credited together with the charge, and the answer is there.
pub async fn a_held_payment_is_credited_together_with_the_charge(store: FreshStore) {
    invoiced(&store, 1).await;
    let waiting = job(&store, 1).await;
    assert_eq!(
        (waiting.state.name(), waiting.work_payment),
        (StateName::AwaitingWorkPayment, WorkPayment::Held)
    );
    assert_eq!((hold(&store, 1).await, hold(&store, 1).await), (PaymentHeld::Noted, PaymentHeld::Known));
    let held = job(&store, 1).await;
    let JobState::Held { until, .. } = held.state else { panic!("{:?}", held.state) };
    assert_eq!(until, START + Duration::from_mins(10));
    let settling = finish(&store, 1, completed()).await;
    let JobState::Settling { answer, .. } = &settling.state else { panic!("{:?}", settling.state) };
    assert_eq!((&*answer.text, answer.usage, answer.estimated), ("an answer: ☃", usage(50), true));
    let account = AccountId::Job(job_id(1).0);
    let earlier = store.account(account).await.unwrap().map_or(msats(0), |it| it.available());
    assert_eq!(earlier, msats(0), "nothing has been received for the work");
    let payment = settlement(1, Purpose::JobWork, work().amount.to_msats(), START);
    let credit = PaymentCredit { owner: owner(1, None), payment };
    assert_eq!(committer(&store).commit(credit.clone()).await.unwrap(), Credited::Now(InvoiceChange::Paid));
    assert_eq!(committer(&store).commit(credit).await.unwrap(), Credited::Before);
    let complete = job(&store, 1).await;
    let JobState::Complete { completion, .. } = &complete.state else { panic!("{:?}", complete.state) };
    assert_eq!((completion.text.clone(), completion.usage), (answer.text.clone(), answer.usage));
    assert_eq!(completion.settlement.price, answer.price);
    assert_eq!(complete.refund, Refund::Pending { amount: completion.settlement.refund });
    assert_sound(&store).await;
}

/// A payment that is given back moves no money, and one that had gone back leaves the work to the operator.
pub async fn a_held_payment_that_goes_back_moves_no_money(store: FreshStore) {
    for n in [1, 2] {
        invoiced(&store, n).await;
    }
    for n in [1, 2] {
        assert_eq!(hold(&store, n).await, PaymentHeld::Noted);
    }
    let fails = WorkOutcome::Failed { message: "broken ☃".to_owned(), fault: Fault::Server };
    let cancelling = finish(&store, 1, fails).await;
    assert!(matches!(cancelling.state, JobState::Cancelling { .. }), "{:?}", cancelling.state);
    let failed = end(&store, &cancelling).await;
    assert_eq!(job(&store, 1).await, failed);
    let JobState::Failed { message, .. } = &failed.state else { panic!("{:?}", failed.state) };
    assert_eq!((message.as_str(), failed.refund), ("broken ☃", Refund::NotApplicable));
    assert_eq!(hold(&store, 1).await, PaymentHeld::Unwanted, "whatever comes now is given back");

    // The first claim has claimed both.
    let lease = job(&store, 2).await.lease;
    let late = WorkFinish { job: job_id(2), identity: None, lease, outcome: completed() };
    let settling = *committer(&store).commit(late).await.unwrap();
    let failed = end(&store, &settling).await;
    assert_eq!((failed.state.name(), failed.refund), (StateName::Failed, Refund::NotApplicable));
    assert_eq!(job(&store, 2).await, failed, "its answer is deleted");
    assert_sound(&store).await;
}

/// Jobs whose payment is held, is taken or is given back have something to do; and they are counted with those that may get one.
pub async fn jobs_on_hold_are_counted_and_claimed(store: FreshStore) {
    assert_eq!(store.jobs_on_hold().await.unwrap(), 0);
    for n in 1..=3 {
        invoiced(&store, n).await;
    }
    assert_eq!(store.jobs_on_hold().await.unwrap(), 3);
    assert_eq!(store.jobs_claim(&claim(1, START, 100)).await.unwrap(), []);
    for n in 1..=3 {
        hold(&store, n).await;
    }
    let claimed = store.jobs_claim(&claim(1, START, 100)).await.unwrap();
    assert_eq!(claimed.len(), 3);
    let fails = WorkOutcome::Failed { message: "broken".to_owned(), fault: Fault::Server };
    for (n, outcome) in [(1, completed()), (2, fails)] {
        let lease = job(&store, n).await.lease;
        let finish = WorkFinish { job: job_id(n), identity: None, lease, outcome };
        committer(&store).commit(finish).await.unwrap();
    }
    let later = START + Duration::from_hours(2);
    assert_eq!(store.jobs_claim(&claim(2, later, 100)).await.unwrap().len(), 3);
    assert_eq!(store.jobs_on_hold().await.unwrap(), 3);
    let cancelling = job(&store, 2).await;
    end(&store, &cancelling).await;
    assert_eq!(store.jobs_on_hold().await.unwrap(), 2);
    assert_sound(&store).await;
}

/// A payment is held for minutes: what is held comes before what has waited longer.
pub async fn jobs_whose_payment_is_held_are_claimed_first(store: FreshStore) {
    for n in [1, 2] {
        invoiced(&store, n).await;
    }
    let payment = settlement(1, Purpose::JobWork, work().amount.to_msats(), START);
    let ordinary = PaymentCredit { owner: owner(1, None), payment };
    committer(&store).commit(ordinary).await.unwrap();
    assert_eq!(job(&store, 1).await.state.name(), StateName::Executing);
    hold(&store, 2).await;
    for n in [2, 1] {
        let claimed = store.jobs_claim(&claim(1, START, 1)).await.unwrap();
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [job_id(n)]);
    }
    assert_eq!(store.jobs_on_hold().await.unwrap(), 1, "what is paid is not on hold any more");
}
