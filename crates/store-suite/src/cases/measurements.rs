//! What is measured: what is in progress, and what transfers have moved.

use super::FreshStore;
use super::ledger::committer_at;
use super::owing::{Plant, address, plant, planted, planted_payout, preimage, sats};
use crate::command::Command;
use crate::installs::{ASK_LEASE, TEN, begin_of, finish_of, install_id, of_install};
use crate::people::{raise, release, reserve};
use crate::scene::{START, Stage, accepted, claim, fund, job_at, msats};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::asks::{AskOutcome, AskPayer};
use tithe_engine::books::{Post, Posting};
use tithe_engine::store::{Measured, Measurements, Tally, TransferSum};
use tithe_ledger::{AccountId, AccountKind, AccountName, HoldId, TransferKey, TransferKind};
use tithe_lightning::Purpose;
use tithe_payouts::{Obligation, Payout, PayoutState};
use uuid::Uuid;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

async fn tally(store: &FreshStore, what: Measured, now: Timestamp) -> Tally {
    store.measurements(now).await.unwrap().tallies.get(&what).copied().unwrap_or_default()
}

/// Only what a worker must do something for, in each state, with its lease; and the invoices that can be paid, by purpose.
pub async fn jobs_and_invoices_in_progress_are_measured(store: FreshStore) {
    assert_eq!(store.measurements(START).await.unwrap(), Measurements::default());
    let at_stages =
        [Stage::Complete, Stage::Accepted, Stage::Executing, Stage::Evaluating, Stage::Evaluating];
    for (n, stage) in (1..).zip(at_stages) {
        job_at(store.as_ref(), n, stage, START + MINUTE * u32::from(n) * 61).await;
    }
    let later = START + HOUR * 9;
    for (n, stage) in [(6, Stage::New), (7, Stage::Invoiced), (8, Stage::Invoiced), (9, Stage::WorkInvoiced)]
    {
        job_at(store.as_ref(), n, stage, later + MINUTE * u32::from(n)).await;
    }
    let at = |n: u32| Some(START + MINUTE * n * 61);
    let states = [
        (Measured::JobsAccepted, 1, at(2)),
        (Measured::JobsExecuting, 1, at(3)),
        (Measured::JobsEvaluating, 2, at(4)),
    ];
    // All are claimed, for an hour.
    let now = START + HOUR * 20;
    assert_eq!(store.jobs_claim(&claim(1, now, 100)).await.unwrap().len(), 4);
    for (what, count, oldest) in states {
        let claimed = Tally { count, leased: count, expired: 0, msats: 0, oldest };
        assert_eq!(tally(&store, what, now).await, claimed, "{what:?}");
        let over = Tally { leased: 0, expired: count, ..claimed };
        assert_eq!(tally(&store, what, now + HOUR).await, over, "{what:?}");
    }
    // One is handed back, to rest: it has no lease.
    let job = store.job(crate::scene::job_id(3)).await.unwrap().unwrap();
    assert!(store.job_lease_hand_back(job.id, &job.lease, now + HOUR * 2).await.unwrap());
    let resting = Tally { count: 1, leased: 0, expired: 0, msats: 0, oldest: at(3) };
    assert_eq!(tally(&store, Measured::JobsExecuting, now).await, resting);
    let evals = tally(&store, Measured::Invoices(Purpose::JobEval), now).await;
    assert_eq!((evals.count, evals.oldest), (2, Some(later + MINUTE * 7)));
    assert_eq!(tally(&store, Measured::Invoices(Purpose::JobWork), now).await.count, 1);
    assert_eq!(tally(&store, Measured::Invoices(Purpose::SessionTopUp), now).await, Tally::default());
}

/// Holds, reservations and credits until they end, with what they hold and whether their lease is over; and the pool.
pub async fn what_is_set_aside_is_measured(store: FreshStore) {
    let session = AccountId::Session(Uuid::from_u128(1));
    accepted(store.as_ref(), fund(session, msats(10_000)), START).await;
    let hold_id = |n| HoldId(Uuid::from_u128(n));
    for (n, at) in [(1, START + MINUTE), (2, START), (3, START)] {
        let place =
            Command::HoldPlace { hold: hold_id(n), account: session, amount: msats(1_000), lease: MINUTE };
        accepted(store.as_ref(), place, at).await;
    }
    accepted(store.as_ref(), Command::HoldRelease { hold: hold_id(3), account: session }, START).await;
    let both = Tally { count: 2, leased: 2, expired: 0, msats: 2_000, oldest: Some(START) };
    assert_eq!(tally(&store, Measured::Holds, START).await, both);
    let one = Tally { leased: 1, expired: 1, ..both };
    assert_eq!(tally(&store, Measured::Holds, START + MINUTE).await, one);

    accepted(store.as_ref(), fund(AccountId::Pool, msats(1_000_000)), START).await;
    raise(store.as_ref(), [1], 200, START).await;
    accepted(store.as_ref(), reserve(1, 1, 3_000), START).await;
    accepted(store.as_ref(), reserve(2, 1, 4_000), START + MINUTE).await;
    accepted(store.as_ref(), release(1, 1), START + MINUTE).await;
    let found = store.measurements(START + MINUTE).await.unwrap();
    let reserved = found.tallies[&Measured::Reservations];
    assert_eq!((reserved.count, reserved.msats, reserved.oldest), (1, 4_000, Some(START + MINUTE)));
    assert_eq!((found.pool_balance, found.pool_held), (msats(1_000_000), msats(4_000)));

    for n in 1..=2 {
        accepted(store.as_ref(), begin_of(n, of_install(1, TEN)), START).await;
    }
    let payer = AskPayer::Install(install_id(1));
    let rejected = AskOutcome::Rejected { reason: "no".to_owned() };
    accepted(store.as_ref(), finish_of(1, payer, rejected), START).await;
    let held = Tally { count: 1, leased: 1, expired: 0, msats: 0, oldest: Some(START) };
    assert_eq!(tally(&store, Measured::Credits, START).await, held);
    let over = Tally { leased: 0, expired: 1, ..held };
    assert_eq!(tally(&store, Measured::Credits, START + ASK_LEASE).await, over);
}

/// What can be paid, what of that has failed, and what is in flight.
pub async fn refunds_and_payouts_in_progress_are_measured(store: FreshStore) {
    let open = |n, due| Obligation { destination: Some(address()), ..planted(n, due, START + MINUTE) };
    let obligations = vec![
        open(1, 100),
        Obligation { failures: 2, next_try_at: START, ..open(2, 20) },
        Obligation { in_flight: Some(preimage(3).payment_hash()), ..open(3, 5) },
        planted(4, 1_000, START),
        Obligation { due: sats(0), ..open(5, 7) },
    ];
    let paying = PayoutState::Paying { since: START + HOUR };
    let paid = PayoutState::Paid { preimage: preimage(1), fee: msats(1) };
    let payouts = vec![
        planted_payout(3, 3, paying, START + MINUTE),
        planted_payout(1, 1, paid, START),
        Payout {
            amount: sats(1),
            ..planted_payout(2, 2, PayoutState::Failed { reason: "no".to_owned() }, START)
        },
    ];
    plant(&store, Plant { obligations, payouts, ..Plant::default() }).await.unwrap();
    let found = store.measurements(START).await.unwrap().tallies;
    let payable = Tally { count: 2, msats: 120_000, oldest: Some(START), ..Tally::default() };
    assert_eq!(found[&Measured::RefundsPayable], payable);
    assert_eq!(found[&Measured::RefundsFailing], Tally { count: 1, ..Tally::default() });
    let flying = Tally { count: 1, msats: 100_000, oldest: Some(START + MINUTE), ..Tally::default() };
    assert_eq!(found[&Measured::PayoutsInFlight], flying);
}

/// By kind and by accounts, from one number to another; the accounts of another service are told apart from none.
pub async fn sums_of_transfers_are_read_in_parts(store: FreshStore) {
    let owned = AccountId::Owned(AccountName::literal("jobs"), Uuid::from_u128(1));
    let (wallet, job) = (AccountId::Wallet, AccountId::Job(Uuid::from_u128(2)));
    let committer = committer_at(&store, START);
    let postings = [
        (wallet, job, 700, TransferKind::JobPayment),
        (wallet, AccountId::Job(Uuid::from_u128(3)), 40, TransferKind::JobPayment),
        (job, AccountId::Revenue, 600, TransferKind::Charge),
        (wallet, owned, 5, TransferKind::Adjustment),
        (job, AccountId::RefundsDue, 100, TransferKind::RefundAccrued),
    ];
    for (n, (debit, credit, amount, kind)) in postings.into_iter().enumerate() {
        let (key, reference) = (TransferKey::new(format!("posting:{n}")), Uuid::nil());
        let posting = Posting { key, debit, credit, amount: msats(amount), kind, reference };
        committer.commit(Post(posting)).await.unwrap();
    }
    let last = store.measurements(START).await.unwrap().last_transfer;
    let (account, other) = (Some, None);
    let sum = |kind, debit, credit, transfers, msats| TransferSum { kind, debit, credit, transfers, msats };
    let (wallet, job) = (account(AccountKind::Wallet), account(AccountKind::Job));
    let mut all = vec![
        sum(TransferKind::JobPayment, wallet, job, 2, 740),
        sum(TransferKind::Charge, job, account(AccountKind::Revenue), 1, 600),
        sum(TransferKind::Adjustment, wallet, other, 1, 5),
        sum(TransferKind::RefundAccrued, job, account(AccountKind::RefundsDue), 1, 100),
    ];
    all.sort();
    let read = async |after, until| {
        let mut sums = store.transfer_sums(after, until).await.unwrap();
        sums.sort();
        sums
    };
    assert_eq!(read(0, last).await, all);
    assert_eq!(read(last, last).await, []);
    let mut parts = 0;
    for seq in 1..=last {
        let part = read(seq - 1, seq).await;
        assert!(part.iter().all(|sum| sum.transfers == 1));
        parts += part.len();
    }
    assert_eq!(parts, postings.len());
}
