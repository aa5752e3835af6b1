//! What may happen in the free tier, and the commands that it is.

use super::ask_op::{AskOp, ask};
use super::numbers::{HOLDS, JOBS, PEOPLE, RESERVATIONS, job_id, numbered, reservation_id};
use crate::command::{Charge, Command};
use crate::people::{LEASE, account, budgets, pubkey};
use crate::scene::{EXPIRY, FEE_SATS, START, msats, quote};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::books::{Posting, Rules};
use tithe_engine::jobs::{Fault, Verdict, WorkOutcome};
use tithe_engine::records::{AuthNonceId, AuthNonceKind};
use tithe_free_tier::{FreeTierPolicy, GrantId, RequestHash, ReservationId};
use tithe_jobs::{Job, JobId, JobStart, JobState, NewJob, WorkTerms};
use tithe_ledger::{AccountId, HoldId, TransferKey, TransferKind};
use tithe_lightning::{Invoice, InvoiceState, OwnerId, Preimage, Purpose, ReceivedPayment};
use tithe_money::{BasisPoints, BtcPrice, Msats, Sats, UsdMicros};
use tithe_pricing::{BtcQuote, Catalogue, Terms, Usage};
use tithe_trust::{NostrPubkey, Score, TrustPolicy};
use uuid::Uuid;

/// What arrives of what was asked: short, over, or exactly.
fn arrives(asked: u64, how: u8) -> u64 {
    match how {
        0 => asked - 1,
        1 => asked + 777,
        _ => asked,
    }
}

/// Something that may happen. Numbers name charges, reservations, proofs and jobs of one epoch, so that commands meet.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Work is charged: cost, and the most that the pool may pay.
    Charge(u32, u64, u64),
    /// Something is reserved.
    Reserve(u32, u64),
    /// A reservation's lease is renewed; by its own person or another.
    Renew(u32, bool),
    /// A reservation ends, done; by its own person or another.
    Settle(u32, u64, bool),
    /// A reservation ends, not done; by its own person or another.
    Release(u32, bool),
    /// A reservation ends, if its lease is over.
    Lapse(u32, bool),
    /// Money moves between two of the accounts, under one of a few keys.
    Post(u32, u32, u64, u32),
    /// A hold is placed.
    Place(u32, u64),
    /// A hold ends, with the work done.
    HoldSettle(u32, u64),
    /// A hold ends, with the work not done.
    HoldRelease(u32),
    /// A hold's lease is renewed.
    HoldRenew(u32),
    /// A hold ends, if its lease is over.
    HoldExpire(u32),
    /// A nonce is consumed, for a login or else.
    Prove(u32, u32, bool),
    /// A plain request takes a step, or something happens to installs.
    Ask(AskOp),
    /// A job takes a step, or tries to.
    Job(u32, Step),
}

/// What may happen to a job.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Whatever comes next for it; mostly all goes well.
    Next(u64),
    Create,
    Issue(Purpose),
    Pay(Purpose, u8),
    Lapse(Purpose),
    Judge(u8),
    Finish(WorkEnds),
    Abandon,
}

/// How work ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum WorkEnds {
    Done(u64),
    Failed(Fault),
}

fn purpose() -> impl Strategy<Value = Purpose> {
    prop_oneof![Just(Purpose::JobEval), Just(Purpose::JobWork)]
}

fn step() -> impl Strategy<Value = Step> {
    let ends = prop_oneof![
        4 => (0_u64..4_000).prop_map(WorkEnds::Done),
        1 => Just(WorkEnds::Failed(Fault::Server)),
        1 => Just(WorkEnds::Failed(Fault::Request)),
    ];
    prop_oneof![
        44 => (0_u64..4_000).prop_map(Step::Next),
        2 => Just(Step::Create),
        1 => purpose().prop_map(Step::Issue),
        3 => (purpose(), 0_u8..4).prop_map(|(purpose, how)| Step::Pay(purpose, how)),
        2 => purpose().prop_map(Step::Lapse),
        3 => (0_u8..5).prop_map(Step::Judge),
        3 => ends.prop_map(Step::Finish),
        1 => Just(Step::Abandon),
    ]
}

/// Anything, of which `asks` in a hundred are plain requests.
pub(super) fn op(asks: u32) -> impl Strategy<Value = Op> {
    prop_oneof![100 - asks => other_op(), asks => ask().prop_map(Op::Ask)]
}

fn other_op() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![1 => 0_u64..200, 4 => 200_u64..9_000, 2 => 9_000_u64..70_000];
    let part = prop_oneof![9 => 1_u64..4_000, 4 => 4_000_u64..30_000, 1 => Just(0)];
    let foreign = proptest::bool::weighted(0.1);
    prop_oneof![
        6 => (0_u32..20, amount, prop_oneof![Just(0), Just(u64::MAX), 1_u64..9_000])
            .prop_map(|(n, cost, most)| Op::Charge(n, cost, most.min(cost))),
        7 => (0..RESERVATIONS, part.clone()).prop_map(|(n, amount)| Op::Reserve(n, amount)),
        1 => (0..RESERVATIONS, foreign).prop_map(|(n, foreign)| Op::Renew(n, foreign)),
        5 => (0..RESERVATIONS, part, foreign).prop_map(|(n, cost, foreign)| Op::Settle(n, cost, foreign)),
        2 => (0..RESERVATIONS, foreign).prop_map(|(n, foreign)| Op::Release(n, foreign)),
        2 => (0..RESERVATIONS, foreign).prop_map(|(n, foreign)| Op::Lapse(n, foreign)),
        1 => (0_u32..6, 0..PEOPLE + 4, any::<bool>()).prop_map(|(n, who, login)| Op::Prove(n, who, login)),
        2 => (0_u32..5, 0_u32..5, 0_u64..20_000, 0_u32..9).prop_map(|(a, b, n, key)| Op::Post(a, b, n, key)),
        2 => (0..HOLDS, 0_u64..9_000).prop_map(|(n, amount)| Op::Place(n, amount)),
        2 => (0..HOLDS, 0_u64..12_000).prop_map(|(n, cost)| Op::HoldSettle(n, cost)),
        1 => (0..HOLDS).prop_map(Op::HoldRelease),
        1 => (0..HOLDS).prop_map(Op::HoldRenew),
        1 => (0..HOLDS).prop_map(Op::HoldExpire),
        36 => (0..JOBS, step()).prop_map(|(n, step)| Op::Job(n, step)),
    ]
}

/// Rules under which every limit is near.
pub(super) fn tight() -> Rules {
    let free_tier = FreeTierPolicy {
        tithe: BasisPoints::new(1_337).unwrap(),
        offers_share: BasisPoints::new(3_333).unwrap(),
        ..budgets(3, 12, 30, 80).free_tier
    };
    let trust = TrustPolicy {
        established: Score::from_millis(700),
        trusted: Score::points(2),
        elite: Score::points(4),
        full_payment: msats(7_000),
        fault: Score::from_millis(1_300),
        day_gain_max: Score::points(3),
        away_after: Duration::from_hours(50),
        fade_per_day: Score::from_millis(400),
        ..TrustPolicy::default()
    };
    Rules { trust, free_tier }
}

/// Whose job it is: now and then nobody's.
fn job_of(n: u32) -> Option<NostrPubkey> {
    (n != JOBS - 1).then(|| pubkey(n % PEOPLE))
}

fn preimage(job: JobId, purpose: Purpose) -> Preimage {
    let mut bytes = [if purpose == Purpose::JobEval { 1 } else { 2 }; 32];
    bytes[..16].copy_from_slice(job.0.as_bytes());
    Preimage::from_bytes(bytes)
}

/// What a job's work costs: a few sats, or a few dozen, or more than a day's budget.
fn work(n: u32) -> WorkTerms {
    let btc = BtcQuote { price: BtcPrice::parse("97531.24").unwrap(), as_of: START };
    let margin = BasisPoints::from_percent(40).unwrap();
    let terms = Terms { margin, fixed_cost: UsdMicros::new(137).unwrap(), btc };
    let most = [60, 400, 1_500, 3_000][usize::try_from(n % 4).unwrap()];
    let model = Catalogue::built_in();
    WorkTerms::in_full(model.model("sim-large").unwrap().quote(&["hello"], Some(most), &terms).unwrap())
        .unwrap()
}

/// Jobs as they were read a moment ago.
pub(super) type Views = HashMap<JobId, Job>;

impl Op {
    /// The command that it is.
    pub(super) fn command(&self, epoch: u32, views: &Views, now: Timestamp) -> Command {
        let whose = |n: u32, foreign: bool| pubkey((n + u32::from(foreign)) % PEOPLE);
        let reservation = |n: u32| ReservationId(reservation_id(epoch, n));
        let hold = |n: u32| HoldId(Uuid::from_u128(5 << 100 | numbered(epoch, n)));
        match *self {
            Self::Charge(n, cost, most) => Command::Charge(Charge {
                id: GrantId(Uuid::from_u128(3 << 100 | numbered(epoch, n))),
                account: account(n % 3),
                identity: (n % 7 != 6).then(|| whose(n, false)),
                cost: msats(cost),
                absorb_most: msats(most),
                request_hash: RequestHash::of("asked"),
            }),
            Self::Reserve(n, amount) => Command::GrantReserve {
                reservation: reservation(n),
                identity: whose(n, false),
                amount: msats(amount),
                lease: LEASE,
            },
            Self::Renew(n, foreign) => {
                Command::GrantRenew { reservation: reservation(n), identity: whose(n, foreign), lease: LEASE }
            }
            Self::Settle(n, cost, foreign) => Command::GrantSettle {
                reservation: reservation(n),
                identity: whose(n, foreign),
                cost: msats(cost),
                request_hash: RequestHash::of("asked and held"),
            },
            Self::Release(n, foreign) => {
                Command::GrantRelease { reservation: reservation(n), identity: whose(n, foreign) }
            }
            Self::Lapse(n, foreign) => {
                Command::GrantExpire { reservation: reservation(n), identity: whose(n, foreign) }
            }
            Self::Prove(n, who, login) => {
                let mut proof = [0; 32];
                proof[..16].copy_from_slice(&numbered(epoch, n).to_be_bytes());
                let kind = if login { AuthNonceKind::Login } else { AuthNonceKind::HttpAuth };
                let identity = pubkey(who);
                Command::AuthNonceConsume {
                    nonce: AuthNonceId(proof),
                    kind,
                    identity,
                    expires_at: now + LEASE,
                }
            }
            Self::Post(from, to, amount, key) => {
                let side = |n: u32| match n {
                    0..3 => account(n),
                    3 => AccountId::Operator,
                    _ => AccountId::Revenue,
                };
                Command::Post(Posting {
                    key: TransferKey::new(format!("post:{epoch}:{key}")),
                    debit: side(from),
                    credit: side(to),
                    amount: msats(amount),
                    kind: TransferKind::Adjustment,
                    reference: Uuid::nil(),
                })
            }
            Self::Place(n, amount) => Command::HoldPlace {
                hold: hold(n),
                account: account(n % 3),
                amount: msats(amount),
                lease: LEASE,
            },
            Self::HoldSettle(n, cost) => {
                Command::HoldSettle { hold: hold(n), account: account(n % 3), cost: msats(cost) }
            }
            Self::HoldRelease(n) => Command::HoldRelease { hold: hold(n), account: account(n % 3) },
            Self::HoldRenew(n) => Command::HoldRenew { hold: hold(n), account: account(n % 3), lease: LEASE },
            Self::HoldExpire(n) => Command::HoldExpire { hold: hold(n), account: account(n % 3) },
            Self::Ask(ref ask) => ask.command(epoch, now),
            Self::Job(n, ref step) => {
                let id = job_id(epoch, n);
                step.command(n, id, views.get(&id), now)
            }
        }
    }
}

impl Step {
    /// What comes next for a job.
    fn next(tokens: u64, job: Option<&Job>) -> Self {
        match job.map(|job| (&job.state, job.evaluation_invoice())) {
            None => Self::Create,
            Some((JobState::AwaitingEvalPayment, None)) => Self::Issue(Purpose::JobEval),
            Some((JobState::AwaitingEvalPayment, Some(_))) => Self::Pay(Purpose::JobEval, 9),
            Some((JobState::Evaluating, _)) => Self::Judge(u8::try_from(tokens % 20).unwrap()),
            Some((JobState::Accepted { .. }, _)) => Self::Issue(Purpose::JobWork),
            Some((JobState::Executing { .. }, _)) => Self::Finish(match tokens % 12 {
                0 => WorkEnds::Failed(Fault::Server),
                1 => WorkEnds::Failed(Fault::Request),
                _ => WorkEnds::Done(tokens),
            }),
            // Now and then short or over; and for one that has ended, late.
            Some(_) => Self::Pay(Purpose::JobWork, u8::try_from(tokens % 12).unwrap()),
        }
    }

    /// What brings a job to its end, as the sweeps do; `None` for one that has ended.
    pub(super) fn last(job: &Job) -> Option<Self> {
        match &job.state {
            JobState::AwaitingEvalPayment if job.evaluation_invoice().is_none() => Some(Self::Abandon),
            JobState::AwaitingEvalPayment => Some(Self::Lapse(Purpose::JobEval)),
            JobState::Evaluating | JobState::Accepted { .. } => Some(Self::Judge(1)),
            JobState::AwaitingWorkPayment { .. } => Some(Self::Lapse(Purpose::JobWork)),
            JobState::Executing { .. } => Some(Self::Finish(WorkEnds::Failed(Fault::Server))),
            _ => None,
        }
    }

    fn command(&self, n: u32, id: JobId, view: Option<&Job>, now: Timestamp) -> Command {
        let lease = view.map(|job| job.lease).unwrap_or_default();
        let identity = job_of(n);
        let asked = |purpose| match (purpose, view.and_then(|job| job.state.work())) {
            (Purpose::JobEval, _) => Sats::new(FEE_SATS).unwrap().to_msats(),
            (_, Some(work)) => work.amount.to_msats(),
            (_, None) => work(n).full_amount.to_msats(),
        };
        match *self {
            Self::Next(tokens) => Self::next(tokens, view).command(n, id, view, now),
            Self::Create => {
                let job = Box::new(Job::new(NewJob {
                    id,
                    request: Arc::from("a request"),
                    model: "sim-large".to_owned(),
                    max_output_tokens: None,
                    identity,
                    start: JobStart::Evaluation { quote: quote(), fee: Sats::new(FEE_SATS).unwrap() },
                    created_at: now,
                }));
                Command::JobCreate { job, idempotency: None, instead_of: None }
            }
            Self::Issue(purpose) => {
                let payment_hash = preimage(id, purpose).payment_hash();
                let invoice = Invoice {
                    payment_hash,
                    purpose,
                    owner: OwnerId(id.0),
                    payment_request: format!("lnbcrt{payment_hash}"),
                    amount: asked(purpose),
                    state: InvoiceState::Pending,
                    created_at: now,
                    expires_at: now + EXPIRY,
                };
                Command::InvoiceIssue { job: id, identity, invoice, lease: Some(lease), finish: None }
            }
            Self::Pay(purpose, how) => {
                let preimage = preimage(id, purpose);
                let amount = Msats::new(arrives(asked(purpose).get().max(1_000), how)).unwrap();
                let payment_hash = preimage.payment_hash();
                let payment = ReceivedPayment {
                    payment_hash,
                    amount,
                    liquidity_fee: Msats::ZERO,
                    preimage: Some(preimage),
                    received_at: now,
                };
                Command::PaymentCredit { job: id, identity, payment }
            }
            Self::Lapse(purpose) => {
                let invoice = preimage(id, purpose).payment_hash();
                Command::InvoiceExpire { job: id, identity, invoice }
            }
            Self::Judge(verdict) => {
                let verdict = match verdict {
                    0 => Verdict::Rejected("no".to_owned()),
                    1 => Verdict::Failed("sorry".to_owned()),
                    _ => Verdict::Accepted(work(n)),
                };
                Command::EvaluationFinish { job: id, identity, lease, verdict }
            }
            Self::Finish(ends) => {
                let outcome = match ends {
                    WorkEnds::Done(output_tokens) => WorkOutcome::Completed {
                        estimated: false,
                        finish: tithe_jobs::FinishReason::Stop,
                        text: Arc::from("done"),
                        usage: Usage {
                            input_tokens: 9,
                            cached_input_tokens: 2,
                            output_tokens,
                            ..Usage::ZERO
                        },
                        rates: None,
                    },
                    WorkEnds::Failed(fault) => WorkOutcome::Failed { message: "broken".to_owned(), fault },
                };
                Command::WorkFinish { job: id, identity, lease, outcome }
            }
            Self::Abandon => Command::JobAbandon { job: id },
        }
    }
}
