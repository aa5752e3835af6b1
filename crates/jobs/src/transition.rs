//! The state transitions of a job.

use crate::{Completion, HeldAnswer, Job, JobState, Refund, WorkPayment, WorkTerms};
use std::fmt;
use tithe_clock::Timestamp;
use tithe_lightning::PaymentHash;
use tithe_money::Sats;
use tithe_pricing::{Priced, Quote};

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent<Q: Priced = Quote> {
    /// The evaluation invoice was created.
    EvalInvoiced {
        /// The invoice's payment hash.
        invoice: PaymentHash,
    },
    /// The evaluation was paid.
    EvalPaid,
    /// The evaluation accepted the request.
    Accepted {
        /// The terms of the work.
        work: WorkTerms<Q>,
    },
    /// The evaluation rejected the request.
    Rejected {
        /// The reason for the rejection.
        reason: String,
    },
    /// The work invoice was created. It is an ordinary one.
    WorkInvoiced {
        /// The invoice's payment hash.
        invoice: PaymentHash,
    },
    /// The work invoice was created. It is a hold invoice.
    HoldInvoiced {
        /// The invoice's payment hash.
        invoice: PaymentHash,
    },
    /// The work was paid.
    WorkPaid,
    /// The payment of the hold invoice has arrived and is held.
    WorkHeld {
        /// When the work must be done.
        until: Timestamp,
    },
    /// The work whose payment is held is done; the payment is to be settled.
    WorkDone {
        /// The result.
        answer: HeldAnswer<Q>,
    },
    /// The payment that is held is to be given back.
    WorkCancelled {
        /// Why, in words that customers may see.
        message: String,
    },
    /// The work was completed.
    Completed {
        /// The output and the cost split.
        completion: Completion<Q>,
    },
    /// The server failed to evaluate the request or to do the work.
    Failed {
        /// The reason, in words that customers may see.
        message: String,
    },
    /// The pending invoice expired unpaid.
    Expired,
    /// A refund of an ended job is booked (when the job ends, or for a late payment).
    RefundAccrued {
        /// The amount added to the refund.
        amount: Sats,
    },
}

impl<Q: Priced> JobEvent<Q> {
    /// The event's display name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::EvalInvoiced { .. } => "evaluation invoiced",
            Self::EvalPaid => "evaluation paid",
            Self::Accepted { .. } => "accepted",
            Self::Rejected { .. } => "rejected",
            Self::WorkInvoiced { .. } => "work invoiced",
            Self::HoldInvoiced { .. } => "hold invoiced",
            Self::WorkPaid => "work paid",
            Self::WorkHeld { .. } => "work held",
            Self::WorkDone { .. } => "work done",
            Self::WorkCancelled { .. } => "work cancelled",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
            Self::RefundAccrued { .. } => "refund accrued",
        }
    }
}

/// The event is not allowed in the job's current state. The job is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidTransition {
    /// The job's current state.
    pub from: &'static str,
    /// The event.
    pub event: &'static str,
}

impl fmt::Display for InvalidTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid transition: event {:?} is not allowed while the job is {}", self.event, self.from)
    }
}

impl<Q: Priced> Job<Q> {
    /// Returns the job after `event`.
    ///
    /// A transition ends the lease and resets its attempt counter, except for the acceptance: the worker that evaluated
    /// the request goes on to create the work invoice, or to do the work when nothing is left to pay, as the first
    /// attempt at that step; and so does the worker that has done work whose payment is held, to settle or to cancel it. The caller stores the result together with the money that the event moves.
    ///
    /// # Errors
    /// [`InvalidTransition`] for every pair of state and event that is not part of the state machine.
    pub fn apply(&self, event: JobEvent<Q>, at: Timestamp) -> Result<Self, InvalidTransition> {
        let refused = InvalidTransition { from: self.state_name_inside(), event: event.as_str() };
        if let Some((state, lease)) = self.next_of_hold(&event) {
            let revision = self.revision.saturating_add(1);
            return Ok(Self { state, lease, revision, updated_at: at, ..self.clone() });
        }
        let mut evaluation = self.evaluation.clone();
        let mut refund = self.refund;
        let mut lease = self.lease.ended();
        let mut work_payment = self.work_payment;
        let state = match (self.state.clone(), event) {
            (JobState::AwaitingEvalPayment, JobEvent::EvalInvoiced { invoice }) => {
                let asked = evaluation.as_mut().filter(|evaluation| evaluation.invoice.is_none());
                asked.ok_or(refused)?.invoice = Some(invoice);
                JobState::AwaitingEvalPayment
            }
            (JobState::AwaitingEvalPayment, JobEvent::EvalPaid) if self.evaluation_invoice().is_some() => {
                JobState::Evaluating
            }
            (JobState::AwaitingEvalPayment, JobEvent::Expired) => {
                JobState::Expired { work: None, invoice: None }
            }
            (JobState::Evaluating, JobEvent::Accepted { work }) => {
                lease = self.lease.carried_on();
                if work.is_free() {
                    // There is no invoice.
                    work_payment = WorkPayment::Prepaid;
                    JobState::Executing { work, invoice: None }
                } else {
                    JobState::Accepted { work }
                }
            }
            (JobState::Evaluating, JobEvent::Rejected { reason }) => JobState::Rejected { reason },
            (JobState::Evaluating, JobEvent::Failed { message }) => {
                JobState::Failed { message, work: None, invoice: None }
            }
            // A job without an evaluation begins with the work.
            (
                JobState::Accepted { work } | JobState::AwaitingWorkPayment { work, invoice: None },
                JobEvent::WorkInvoiced { invoice },
            ) => {
                work_payment = WorkPayment::Prepaid;
                JobState::AwaitingWorkPayment { work, invoice: Some(invoice) }
            }
            (
                JobState::Accepted { work } | JobState::AwaitingWorkPayment { work, invoice: None },
                JobEvent::HoldInvoiced { invoice },
            ) if work_payment == WorkPayment::Held => {
                JobState::AwaitingWorkPayment { work, invoice: Some(invoice) }
            }
            (JobState::Accepted { work }, JobEvent::Failed { message }) => {
                JobState::Failed { message, work: Some(work), invoice: None }
            }
            (JobState::AwaitingWorkPayment { work, invoice: invoice @ Some(_) }, JobEvent::WorkPaid) => {
                JobState::Executing { work, invoice }
            }
            (JobState::AwaitingWorkPayment { work, invoice }, JobEvent::Expired) => {
                JobState::Expired { work: Some(work), invoice }
            }
            (JobState::Executing { work, invoice }, JobEvent::Completed { completion }) => {
                JobState::Complete { work, invoice, completion }
            }
            (JobState::Executing { work, invoice }, JobEvent::Failed { message }) => {
                JobState::Failed { message, work: Some(work), invoice }
            }
            (state, JobEvent::RefundAccrued { amount })
                if state.name().is_terminal() && !amount.is_zero() =>
            {
                let total = self.refund.amount().get().saturating_add(amount.get());
                // The sum cannot overflow: it is bounded by the supply of bitcoin.
                refund = Refund::Pending { amount: Sats::new(total).map_err(|_| refused)? };
                state
            }
            _ => return Err(refused),
        };
        let revision = self.revision.saturating_add(1);
        Ok(Self {
            evaluation,
            work_payment,
            state,
            refund,
            lease,
            revision,
            updated_at: at,
            id: self.id,
            request: self.request.clone(),
            model: self.model.clone(),
            max_output_tokens: self.max_output_tokens,
            identity: self.identity,
            created_at: self.created_at,
            text_deleted_at: self.text_deleted_at,
        })
    }

    /// The state's internal name, which distinguishes the steps that the API reports as `evaluating` and `executing`.
    const fn state_name_inside(&self) -> &'static str {
        match self.state {
            JobState::Accepted { .. } => "accepted",
            JobState::Held { .. } => "held",
            JobState::Settling { .. } => "settling",
            JobState::Cancelling { .. } => "cancelling",
            _ => self.state.name().as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinishReason, JobId, JobStart, NewJob, StateName};
    use proptest::prelude::*;
    use std::time::Duration;
    use tithe_money::{BasisPoints, BtcPrice, Msats, UsdMicros};
    use tithe_pricing::{BtcQuote, Catalogue, Terms, UnitName, UnitQuote, UnitRate, Usage};
    use uuid::Uuid;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn quote() -> Quote {
        static QUOTE: std::sync::LazyLock<Quote> = std::sync::LazyLock::new(make_quote);
        QUOTE.clone()
    }

    fn make_quote() -> Quote {
        let btc = BtcQuote { price: BtcPrice::parse("100000").unwrap(), as_of: START };
        let terms = Terms { margin: BasisPoints::ZERO, fixed_cost: UsdMicros::ZERO, btc };
        Catalogue::built_in().model("sim-large").unwrap().quote(&["hello"], None, &terms).unwrap()
    }

    fn new_job() -> Job {
        Job::new(NewJob {
            id: JobId(Uuid::nil()),
            request: "hello".into(),
            model: "sim-large".to_owned(),
            max_output_tokens: None,
            identity: None,
            start: JobStart::Evaluation { quote: quote(), fee: Sats::new(2).unwrap() },
            created_at: START,
        })
    }

    fn hash(byte: u8) -> PaymentHash {
        PaymentHash::from_bytes([byte; 32])
    }

    fn answer() -> HeldAnswer {
        let usage = Usage { input_tokens: 5, output_tokens: 7, ..Usage::ZERO };
        let price = quote().price_or_max(&usage);
        HeldAnswer { text: "hi".into(), usage, estimated: false, finish: FinishReason::Stop, price }
    }

    /// One example of each event, in the order of their names.
    fn events() -> Vec<JobEvent> {
        let work = WorkTerms::in_full(quote()).unwrap();
        let usage = Usage { input_tokens: 5, output_tokens: 7, ..Usage::ZERO };
        let settlement = work.quote.split(&usage, work.amount.to_msats(), Msats::ZERO).unwrap();
        vec![
            JobEvent::EvalInvoiced { invoice: hash(1) },
            JobEvent::EvalPaid,
            JobEvent::Accepted { work },
            JobEvent::Rejected { reason: "no".to_owned() },
            JobEvent::WorkInvoiced { invoice: hash(2) },
            JobEvent::HoldInvoiced { invoice: hash(2) },
            JobEvent::WorkPaid,
            JobEvent::WorkHeld { until: START },
            JobEvent::WorkDone { answer: answer() },
            JobEvent::WorkCancelled { message: "no".to_owned() },
            JobEvent::Completed {
                completion: Completion {
                    text: "hi".into(),
                    usage,
                    estimated: false,
                    finish: FinishReason::Stop,
                    settlement,
                },
            },
            JobEvent::Failed { message: "sorry".to_owned() },
            JobEvent::Expired,
            JobEvent::RefundAccrued { amount: Sats::new(1).unwrap() },
        ]
    }

    /// Applies the events with these names to a job whose work is to be paid by a hold invoice.
    fn after(names: &[&str]) -> Job {
        names.iter().fold(Job { work_payment: WorkPayment::Held, ..new_job() }, |job, name| {
            let event = events().into_iter().find(|event| event.as_str() == *name).unwrap();
            job.apply(event, START).unwrap()
        })
    }

    const PAID: [&str; 2] = ["evaluation invoiced", "evaluation paid"];
    const WORKING: [&str; 5] =
        ["evaluation invoiced", "evaluation paid", "accepted", "work invoiced", "work paid"];
    const HELD: [&str; 5] =
        ["evaluation invoiced", "evaluation paid", "accepted", "hold invoiced", "work held"];

    type Names = Vec<&'static str>;
    type Steps = Vec<(&'static str, &'static str)>;

    /// Every state, how to reach it, and the events it accepts with the states they lead to.
    fn table() -> Vec<(&'static str, Names, Steps)> {
        let with = |path: &[&'static str], last: &'static str| [path, &[last]].concat();
        vec![
            ("new", vec![], vec![("evaluation invoiced", "awaiting_eval_payment"), ("expired", "expired")]),
            (
                "awaiting_eval_payment",
                vec!["evaluation invoiced"],
                vec![("evaluation paid", "evaluating"), ("expired", "expired")],
            ),
            (
                "evaluating",
                PAID.to_vec(),
                vec![("accepted", "evaluating"), ("rejected", "rejected"), ("failed", "failed")],
            ),
            (
                "accepted",
                with(&PAID, "accepted"),
                vec![
                    ("work invoiced", "awaiting_work_payment"),
                    ("hold invoiced", "awaiting_work_payment"),
                    ("failed", "failed"),
                ],
            ),
            (
                "awaiting_work_payment of a hold invoice",
                HELD[..4].to_vec(),
                vec![
                    ("work held", "executing"),
                    ("work cancelled", "executing"),
                    ("work paid", "executing"),
                    ("expired", "expired"),
                ],
            ),
            (
                "held",
                HELD.to_vec(),
                vec![("work done", "executing"), ("work cancelled", "executing"), ("work paid", "executing")],
            ),
            ("settling", with(&HELD, "work done"), vec![("completed", "complete"), ("failed", "failed")]),
            ("cancelling", with(&HELD, "work cancelled"), vec![("failed", "failed")]),
            (
                "awaiting_work_payment",
                WORKING[..4].to_vec(),
                vec![("work paid", "executing"), ("expired", "expired")],
            ),
            ("executing", WORKING.to_vec(), vec![("completed", "complete"), ("failed", "failed")]),
            ("rejected", with(&PAID, "rejected"), vec![("refund accrued", "rejected")]),
            ("complete", with(&WORKING, "completed"), vec![("refund accrued", "complete")]),
            ("failed", with(&WORKING, "failed"), vec![("refund accrued", "failed")]),
            ("expired", vec!["expired"], vec![("refund accrued", "expired")]),
            ("expired late", with(&WORKING[..4], "expired"), vec![("refund accrued", "expired")]),
        ]
    }

    #[test]
    fn every_transition_and_every_refusal_is_as_the_table_says() {
        for (state, path, allowed) in table() {
            let job = after(&path);
            for event in events() {
                let name = event.as_str();
                let at = START + Duration::from_secs(9);
                match (job.apply(event, at), allowed.iter().find(|(event, _)| *event == name)) {
                    (Ok(next), Some((_, to))) => {
                        assert_eq!(next.state.name().as_str(), *to, "{state} + {name}");
                        assert_eq!((next.revision, next.updated_at), (job.revision + 1, at));
                        assert_eq!(next.created_at, job.created_at);
                    }
                    (Err(refused), None) => {
                        assert_eq!(refused.event, name);
                        assert!(!refused.from.is_empty());
                    }
                    (outcome, _) => panic!("{state} + {name}: {outcome:?}"),
                }
            }
        }
    }

    #[test]
    fn the_table_reaches_every_state() {
        let reached: Vec<StateName> = table().iter().map(|(_, path, _)| after(path).state.name()).collect();
        for name in StateName::ALL {
            assert!(reached.contains(&name), "{name:?}");
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn finish_reasons_read_back() {
        for reason in FinishReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert!("tool_calls".parse::<FinishReason>().is_err());
    }

    #[test]
    fn refunds_add_up() {
        let job = after(&["expired", "refund accrued", "refund accrued"]);
        assert_eq!(job.refund, Refund::Pending { amount: Sats::new(2).unwrap() });
        let nothing = JobEvent::RefundAccrued { amount: Sats::ZERO };
        assert!(job.apply(nothing, START).is_err());
    }

    #[test]
    fn a_step_ends_the_lease_but_who_evaluated_goes_on() {
        let mut job = after(&PAID);
        job.lease = job.lease.claimed(crate::LeaseOwner(Uuid::nil()), START);
        let held = job.lease;
        let work = WorkTerms::in_full(quote()).unwrap();
        let rejected = JobEvent::Rejected { reason: String::new() };
        assert_eq!(job.apply(rejected, START).unwrap().lease, held.ended());
        assert_eq!(job.apply(JobEvent::Accepted { work }, START).unwrap().lease, held);
    }

    #[test]
    fn work_that_the_pool_pays_runs_at_once() {
        let job = after(&PAID);
        let work = WorkTerms::in_full(quote()).unwrap();
        let full = work.full_amount;
        let free = work.clone().with_reserved(full).unwrap();
        assert_eq!(free.reserved(), full.to_msats());
        let running = job.apply(JobEvent::Accepted { work: free }, START).unwrap();
        assert!(matches!(running.state, JobState::Executing { invoice: None, .. }));
        let part = work.clone().with_reserved(Sats::new(1).unwrap()).unwrap();
        assert_eq!(part.amount.get() + 1, full.get());
        let waiting = job.apply(JobEvent::Accepted { work: part }, START).unwrap();
        assert!(matches!(waiting.state, JobState::Accepted { .. }));
        assert!(work.with_reserved(Sats::new(full.get() + 1).unwrap()).is_err());
    }

    #[test]
    fn what_is_being_settled_is_never_cancelled_nor_the_other_way_round() {
        let (settling, cancelling) =
            (after(&[&HELD[..], &["work done"]].concat()), after(&[&HELD[..], &["work cancelled"]].concat()));
        assert!(matches!(settling.state, JobState::Settling { .. }));
        assert!(matches!(cancelling.state, JobState::Cancelling { .. }));
        for event in events() {
            let next = settling.apply(event.clone(), START).map(|job| job.state);
            assert!(!matches!(next, Ok(JobState::Cancelling { .. })), "{event:?}");
            let next = cancelling.apply(event.clone(), START).map(|job| job.state);
            assert!(!matches!(next, Ok(JobState::Settling { .. } | JobState::Complete { .. })), "{event:?}");
        }
    }

    #[test]
    fn an_ordinary_invoice_is_never_held() {
        let invoiced = after(&WORKING[..4]);
        assert_eq!(invoiced.work_payment, WorkPayment::Prepaid);
        assert!(invoiced.apply(JobEvent::WorkHeld { until: START }, START).is_err());
        let accepted = Job { work_payment: WorkPayment::Prepaid, ..after(&WORKING[..3]) };
        assert!(accepted.apply(JobEvent::HoldInvoiced { invoice: hash(2) }, START).is_err());
    }

    #[test]
    fn whoever_has_done_held_work_goes_on() {
        let mut job = after(&HELD);
        job.lease = job.lease.claimed(crate::LeaseOwner(Uuid::nil()), START);
        let held = job.lease;
        for event in
            [JobEvent::WorkDone { answer: answer() }, JobEvent::WorkCancelled { message: String::new() }]
        {
            assert_eq!(job.apply(event, START).unwrap().lease, held);
        }
        assert_eq!(job.apply(JobEvent::WorkPaid, START).unwrap().lease, held.ended());
    }

    /// Work that is priced by the second.
    fn audio() -> WorkTerms<UnitQuote> {
        let (unit, price) = (UnitName::literal("second"), UsdMicros::parse("0.006").unwrap());
        let rate = UnitRate { unit, price, per: std::num::NonZeroU64::new(60).unwrap() };
        WorkTerms::in_full(rate.quote(300, &quote().terms).unwrap()).unwrap()
    }

    fn without_evaluation(work: WorkTerms<UnitQuote>) -> Job<UnitQuote> {
        Job::new(NewJob {
            id: JobId(Uuid::nil()),
            request: "an audio file".into(),
            model: "ears".to_owned(),
            max_output_tokens: None,
            identity: None,
            start: JobStart::Work(work),
            created_at: START,
        })
    }

    #[test]
    fn a_job_without_an_evaluation_begins_with_its_work() {
        let job = without_evaluation(audio());
        assert_eq!((job.state.name(), job.evaluation_fee()), (StateName::AwaitingWorkPayment, Sats::ZERO));
        assert!(job.apply(JobEvent::WorkPaid, START).is_err(), "nothing was invoiced");
        assert!(job.apply(JobEvent::EvalInvoiced { invoice: hash(1) }, START).is_err());
        let asked = job.apply(JobEvent::WorkInvoiced { invoice: hash(2) }, START).unwrap();
        assert!(
            asked.apply(JobEvent::WorkInvoiced { invoice: hash(3) }, START).is_err(),
            "it has one invoice"
        );
        let paid = asked.apply(JobEvent::WorkPaid, START).unwrap();
        let split = audio().quote.split(&180, audio().amount.to_msats(), Msats::ZERO).unwrap();
        let completion = Completion {
            text: "words".into(),
            usage: 180,
            estimated: false,
            finish: FinishReason::Stop,
            settlement: split,
        };
        let done = paid.apply(JobEvent::Completed { completion }, START).unwrap();
        assert_eq!((done.state.name(), done.state.work_invoice()), (StateName::Complete, Some(hash(2))));
        let expired = job.apply(JobEvent::Expired, START).unwrap();
        assert_eq!(expired.state, JobState::Expired { work: Some(audio()), invoice: None });
    }

    #[test]
    fn free_work_without_an_evaluation_can_run_at_once() {
        let full = audio().full_amount;
        let job = without_evaluation(audio().with_reserved(full).unwrap());
        assert!(matches!(job.state, JobState::Executing { invoice: None, .. }));
        assert!(job.state.is_runnable());
    }

    proptest! {
        /// For any sequence of events, an ended job stays ended and is completed at most once.
        #[test]
        fn an_ended_job_stays_as_it_ended(picks in proptest::collection::vec(0_usize..14, 0..60)) {
            let mut job = Job { work_payment: WorkPayment::Held, ..new_job() };
            for pick in picks {
                let event = events().swap_remove(pick);
                let before = job.state.name();
                if let Ok(next) = job.apply(event, START) {
                    prop_assert!(!before.is_terminal() || next.state.name() == before);
                    job = next;
                }
            }
        }
    }
}
