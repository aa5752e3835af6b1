//! The pool's rows, and who may change them.

use super::ledger::balance;
use super::{FreshStore, assert_sound, rows};
use crate::MemoryStore;
use crate::command::{Command, Reply};
use crate::people::{
    LEASE, account, budgets, charge, commit_under, fill, grant_id, job_of, job_of_at, lapse, pay_of, prove,
    pubkey, raise, release, reservation_id, reserve, settle, too_late, work_invoice,
};
use crate::scene::{START, Stage, accepted, commit, fund, job_id, msats, preimage};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tithe_engine::books::Refusal;
use tithe_engine::books::Rules;
use tithe_engine::jobs::{Fault, WorkOutcome};
use tithe_engine::records::AuthNonceKind;
use tithe_engine::store::AuditRow;
use tithe_free_tier::{FreeTierError, FreeTierPolicy, GrantLease, PoolCounters, ReservationState};
use tithe_jobs::{JobState, Lease};
use tithe_ledger::AccountId;
use tithe_lightning::Purpose;
use tithe_money::{BasisPoints, Msats};

const INSTANT: Duration = Duration::from_micros(1);
const DAY: Duration = Duration::from_hours(24);

/// A pool, and people of the elite.
async fn open_pool(store: &FreshStore, pool: u64, people: std::ops::Range<u32>) {
    accepted(store.as_ref(), fund(AccountId::Pool, msats(pool)), START).await;
    raise(store.as_ref(), people, 250, START).await;
}

/// Jobs, reservations, days and grants in all states there are, by commands that answer the same on every store.
async fn everything(store: &FreshStore) {
    open_pool(store, 1_000_000, 0..9).await;
    let (store, rules) = (store.as_ref(), Rules::default());
    let tight = budgets(0, 0, 0, 5);
    // Free work: it runs; it is done; it has failed.
    job_of_at(store, &rules, 1, 1, Stage::Accepted, START).await;
    job_of_at(store, &rules, 2, 1, Stage::Complete, START).await;
    let failing = job_of_at(store, &rules, 3, 1, Stage::Accepted, START).await;
    let outcome = WorkOutcome::Failed { message: "no ☃".to_owned(), fault: Fault::Request };
    let (job, identity, lease) = (failing.id, failing.identity, failing.lease);
    accepted(store, Command::WorkFinish { job, identity, lease, outcome }, START).await;
    // Work that the pool pays in part, for one person each: one has one offer at a time.
    let stages =
        [Stage::Accepted, Stage::WorkInvoiced, Stage::Executing, Stage::Complete, Stage::WorkInvoiced];
    for (n, stage) in (10..).zip(stages) {
        job_of_at(store, &tight, n, u32::from(n) - 8, stage, START).await;
    }
    let (job, identity) = (job_id(14), Some(pubkey(6)));
    let invoice = preimage(14, Purpose::JobWork).payment_hash();
    accepted(store, Command::InvoiceExpire { job, identity, invoice }, too_late(START)).await;
    // Work that the pool does not pay.
    job_of_at(store, &budgets(0, 0, 0, 0), 20, 7, Stage::Complete, START).await;
    // Reservations: 1 is held, 2 to 4 have ended, 5 to 7 have lapsed, and of 6 and 7 the work ended late.
    for n in 1..=7 {
        accepted(store, reserve(n, 7, 10_000 + u64::try_from(n).unwrap()), START).await;
    }
    let over = START + LEASE;
    let renewed = Command::GrantRenew { reservation: reservation_id(1), identity: pubkey(7), lease: DAY };
    for (command, at) in [
        (renewed, START + INSTANT),
        (settle(2, 7, 4_321), START),
        (settle(3, 7, 0), START),
        (release(4, 7), START),
        (lapse(5, 7), over),
        (lapse(6, 7), over),
        (lapse(7, 7), over),
        (settle(6, 7, 1_234), over),
        (settle(7, 7, 0), over),
        (fill(8, 1_000), over),
        (charge(8, 8, 777, 700), over),
    ] {
        accepted(store, command, at).await;
    }
    // Somebody who has asked and not paid, and logs in; the job waits for its invoice.
    accepted(store, job_of(30, 100, START), START).await;
    accepted(store, prove(1, AuthNonceKind::Login, 100, over), over).await;
}

/// Every row of the free tier, with each of its columns empty and filled, is read as the books have written it: one by one,
/// by the audit, and by the next batch.
pub async fn every_row_of_the_free_tier_comes_back_as_it_was_written(store: FreshStore) {
    let twin: FreshStore = Arc::new(MemoryStore::new());
    everything(&store).await;
    everything(&twin).await;
    let ours = rows(&store).await;
    assert_eq!(ours, rows(&twin).await);
    let (mut reservations, mut jobs, mut columns) = (BTreeSet::new(), BTreeSet::new(), HashSet::new());
    for row in ours {
        match row {
            AuditRow::Identity(standing) => {
                assert_eq!(store.identity(standing.pubkey()).await.unwrap(), Some(*standing.clone()));
                let (identity, day) = (&standing.trust, &standing.window);
                columns.insert(("gains_reset_at", identity.gains_reset_at.is_some()));
                columns.insert(("resets_at", day.resets_at.is_some()));
                columns.insert(("offer", day.offer.is_some()));
                columns.insert(("reserved", !day.reserved.is_zero()));
            }
            AuditRow::Reservation(reservation) => {
                assert_eq!(store.reservation(reservation.id).await.unwrap(), Some(reservation.clone()));
                reservations.insert(match reservation.state {
                    ReservationState::Held { lease: GrantLease::Job } => "held by a job",
                    ReservationState::Expired { late: Some(_) } => "lapsed, and done late",
                    _ => reservation.state_name(),
                });
            }
            AuditRow::Grant(grant) => {
                assert_eq!(store.grant(grant.id).await.unwrap(), Some(grant));
            }
            AuditRow::PoolCounters(tally) => assert_eq!(store.pool_counters().await.unwrap(), tally),
            AuditRow::Job(job) => {
                assert_eq!(store.job(job.id).await.unwrap(), Some(*job.clone()));
                let Some(work) = job.state.work() else { continue };
                let paid_by = match (work.is_free(), work.reserved().is_zero()) {
                    (true, _) => "the pool",
                    (false, false) => "both",
                    (false, true) => "the customer",
                };
                let accepted = matches!(job.state, JobState::Accepted { .. });
                let state = if accepted { "accepted" } else { job.state.name().as_str() };
                jobs.insert(format!("{state}, paid by {paid_by}"));
            }
            _ => {}
        }
    }
    assert_eq!(columns.len(), 8, "each column is empty once and filled once: {columns:?}");
    let all = ["held", "held by a job", "lapsed", "lapsed, and done late", "offered", "released", "settled"];
    assert_eq!(reservations, BTreeSet::from(all));
    let all = [
        "accepted, paid by both",
        "awaiting_work_payment, paid by both",
        "complete, paid by both",
        "complete, paid by the customer",
        "complete, paid by the pool",
        "executing, paid by both",
        "executing, paid by the pool",
        "expired, paid by both",
        "failed, paid by the pool",
    ];
    assert_eq!(jobs, all.map(str::to_owned).into());
    assert_sound(&store).await;
    // What the next batch loads is the same again: both go on from it alike.
    for store in [&store, &twin] {
        let next =
            vec![settle(1, 7, 9_999), prove(2, AuthNonceKind::Login, 1, START + DAY), charge(9, 3, 50, 50)];
        assert!(commit(store.as_ref(), next, START + DAY).await.iter().all(Result::is_ok));
    }
    assert_eq!(rows(&store).await, rows(&twin).await);
}

/// "Not found" is an answer; a pool that nobody has touched has nothing to tell.
pub async fn what_the_pool_does_not_know_is_none(store: FreshStore) {
    assert_eq!(store.identity(pubkey(1)).await.unwrap(), None);
    assert_eq!(store.reservation(reservation_id(1)).await.unwrap(), None);
    assert_eq!(store.grant(grant_id(1)).await.unwrap(), None);
    assert_eq!(store.pool_counters().await.unwrap(), PoolCounters::default());
    assert_eq!(store.reservations_overdue(START, 9).await.unwrap(), []);
    let nothing = |outcome: &Result<_, _>| matches!(outcome, Err(Refusal::NotFound { .. }));
    let outcomes = commit(store.as_ref(), vec![settle(1, 1, 5), release(1, 1), lapse(1, 1)], START).await;
    assert!(outcomes.iter().all(nothing), "{outcomes:?}");
    assert_eq!(rows(&store).await, []);
}

/// The sweeper is told of leases that ran out, longest overdue first; what lives with its job has none.
pub async fn overdue_reservations_are_found(store: FreshStore) {
    open_pool(&store, 1_000_000, 1..5).await;
    let later = START + INSTANT;
    for (n, at) in [(1, later), (2, START), (3, START), (4, START)] {
        accepted(store.as_ref(), reserve(n, 1, 1_000), at).await;
    }
    accepted(store.as_ref(), release(3, 1), START).await;
    let (reservation, identity) = (reservation_id(4), pubkey(1));
    accepted(store.as_ref(), Command::GrantRenew { reservation, identity, lease: LEASE * 3 }, START).await;
    // Offered, held by a job in part, held by a job in full.
    job_of_at(store.as_ref(), &budgets(0, 0, 0, 5), 1, 2, Stage::WorkInvoiced, START).await;
    job_of_at(store.as_ref(), &budgets(0, 0, 0, 5), 2, 3, Stage::Executing, START).await;
    job_of_at(store.as_ref(), &Rules::default(), 3, 4, Stage::Accepted, START).await;
    let overdue = async |now, limit| -> Vec<_> {
        store.reservations_overdue(now, limit).await.unwrap().iter().map(|one| one.id).collect()
    };
    let ids = |numbers: &[u128]| numbers.iter().map(|n| reservation_id(*n)).collect::<Vec<_>>();
    assert_eq!(overdue(START + LEASE - INSTANT, 9).await, ids(&[]));
    assert_eq!(overdue(START + LEASE, 9).await, ids(&[2]));
    assert_eq!(overdue(later + LEASE, 9).await, ids(&[2, 1]));
    assert_eq!(overdue(START + DAY * 99, 9).await, ids(&[2, 1, 4]));
    assert_eq!(overdue(START + DAY * 99, 2).await, ids(&[2, 1]));
    assert_eq!(overdue(START + DAY * 99, 0).await, ids(&[]));
    accepted(store.as_ref(), lapse(2, 1), START + LEASE).await;
    assert_eq!(overdue(START + DAY * 99, 9).await, ids(&[1, 4]));
}

/// Rollback: of a batch that cannot be written there is no standing, no reservation, no grant, no used proof, no tally and
/// no job, whether it stood before the fault or after it.
pub async fn a_batch_of_the_pool_that_cannot_be_written_leaves_nothing_behind(store: FreshStore) {
    open_pool(&store, 1_000_000, 1..5).await;
    // A grant of the name that a reservation's will want: its end can then be decided, but not be written.
    accepted(store.as_ref(), reserve(1, 1, 1_000), START).await;
    let Command::Charge(clash) = charge(0, 2, 500, 500) else { panic!("it is a charge") };
    let id = tithe_free_tier::GrantId(reservation_id(1).0);
    accepted(store.as_ref(), Command::Charge(crate::command::Charge { id, ..clash }), START).await;
    let before = rows(&store).await;
    let others = |at| {
        vec![
            charge(1, 3, 400, 400),
            prove(1, AuthNonceKind::Login, 50, at),
            prove(2, AuthNonceKind::HttpAuth, 1, at),
            reserve(2, 1, 300),
            job_of(1, 51, at),
        ]
    };
    for first in [true, false] {
        let mut commands = others(START);
        commands.insert(if first { 0 } else { 5 }, settle(1, 1, 700));
        assert!(store.batch_commit(&crate::command::batch(commands, START)).await.is_err());
        assert_eq!(rows(&store).await, before);
    }
    assert_eq!(store.auth_nonces_purge(START + DAY, 100).await.unwrap(), 0);
    // Without the fault all of it can be done.
    let outcomes = commit(store.as_ref(), others(START), START).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_sound(&store).await;
}

/// A reservation is its identity's: nobody else can renew it, end it, or have its late work paid, and trying changes
/// nothing.
pub async fn nobody_touches_the_reservation_of_another(store: FreshStore) {
    open_pool(&store, 1_000_000, 1..3).await;
    accepted(store.as_ref(), reserve(1, 1, 1_000), START).await;
    let over = START + LEASE;
    let renew = Command::GrantRenew { reservation: reservation_id(1), identity: pubkey(2), lease: DAY };
    let foreign = vec![settle(1, 2, 10), release(1, 2), lapse(1, 2), renew];
    let denied = Err(Refusal::FreeTier(FreeTierError::OtherIdentity(reservation_id(1))));
    let before = rows(&store).await;
    for command in foreign {
        let name = command.name();
        assert_eq!(commit(store.as_ref(), vec![command], over).await[0], denied, "{name}, live");
        assert_eq!(rows(&store).await, before, "{name}, live");
    }
    accepted(store.as_ref(), lapse(1, 1), over).await;
    let before = rows(&store).await;
    assert_eq!(commit(store.as_ref(), vec![settle(1, 2, 10)], over).await, [denied], "settle, lapsed");
    assert_eq!(rows(&store).await, before);
    assert_sound(&store).await;
}

/// A charge's id makes it happen once, whoever pays for it: the pool, the customer, both, or all of it tithe.
/// What costs nothing may be asked for as often as one likes: nothing happens.
pub async fn a_charge_happens_once_whoever_pays_it(store: FreshStore) {
    open_pool(&store, 1_000_000, 1..2).await;
    accepted(store.as_ref(), fund(account(9), msats(1_000_000)), START).await;
    let purse_of_9 = |n, cost, absorb_most| match charge(n, 1, cost, absorb_most) {
        Command::Charge(charge) => Command::Charge(crate::command::Charge { account: account(9), ..charge }),
        other => other,
    };
    let tithing = |tithe| Rules {
        free_tier: FreeTierPolicy { tithe, ..FreeTierPolicy::default() },
        ..Rules::default()
    };
    let cases = [
        ("the pool", BasisPoints::ZERO, purse_of_9(1, 900, 900)),
        ("the customer", BasisPoints::ZERO, purse_of_9(2, 900, 0)),
        ("both, with a tithe", BasisPoints::from_percent(10).unwrap(), purse_of_9(3, 900, 400)),
        ("all tithe", BasisPoints::WHOLE, purse_of_9(4, 900, 0)),
    ];
    let mut done_twice = Vec::new();
    for (payer, tithe, command) in cases {
        let rules = Arc::new(tithing(tithe));
        let batch = crate::command::batch_under(rules, vec![command], START);
        store.batch_commit(&batch).await.unwrap().outcomes.remove(0).unwrap();
        let before = rows(&store).await;
        let again = store.batch_commit(&batch).await.unwrap().outcomes;
        let once = crate::command::outcomes(again) == [Ok(Reply::AlreadyDone)];
        if !once || rows(&store).await != before {
            done_twice.push(payer);
        }
    }
    assert_eq!(done_twice, Vec::<&str>::new());
    let before = rows(&store).await;
    let nothing =
        Ok(Reply::Charged { absorbed: Msats::ZERO, charged: Msats::ZERO, uncollected: Msats::ZERO });
    for _ in 0..2 {
        assert_eq!(commit(store.as_ref(), vec![charge(5, 1, 0, 0)], START).await[0], nothing);
    }
    assert_eq!(rows(&store).await, before);
    assert_sound(&store).await;
}

/// For one identity, and for the pool's tally, time does not go back, whatever clocks the servers have: a day that a clock
/// ahead has begun is the day of the one behind as well.
pub async fn a_clock_that_is_behind_gives_no_second_day(store: FreshStore) {
    open_pool(&store, 10_000_000, 1..2).await;
    let (behind, ahead) = (START, START + DAY + Duration::from_hours(1));
    let all_of_it = 1_000_000;
    accepted(store.as_ref(), charge(1, 1, all_of_it, all_of_it), behind).await;
    accepted(store.as_ref(), charge(2, 1, all_of_it - 1_000, all_of_it), ahead).await;
    let absorbed =
        async |n, at| match commit(store.as_ref(), vec![charge(n, 1, 1_000, 1_000)], at).await.remove(0) {
            Ok(Reply::Charged { absorbed, .. }) => absorbed,
            Err(Refusal::Ledger(_)) => Msats::ZERO,
            other => panic!("{other:?}"),
        };
    let asks = [(behind, 1_000), (behind, 0), (ahead, 0), (behind, 0), (ahead + DAY - INSTANT, 0)];
    for (n, (at, left)) in (3..).zip(asks) {
        assert_eq!(absorbed(n, at).await, msats(left), "{n}");
        assert_sound(&store).await;
    }
    assert_eq!(absorbed(8, ahead + DAY).await, msats(1_000));
    let refused = commit(store.as_ref(), vec![reserve(1, 1, all_of_it)], behind).await;
    assert!(matches!(refused[..], [Err(Refusal::NotFree(_))]), "{refused:?}");
    assert_sound(&store).await;
    assert_eq!(balance(&store, AccountId::Pool).await, (msats(10_000_000 - 2_001_000), Msats::ZERO));
}

/// A server whose clock is ahead may end a day for nothing but a grant of the next one: else the servers that are behind give
/// a second day within the first, and the log has more in it than the row.
pub async fn a_clock_that_is_ahead_ends_no_day_that_others_are_in(store: FreshStore) {
    let all_of_it = 1_000_000;
    accepted(store.as_ref(), fund(AccountId::Pool, msats(10_000_000)), START).await;
    for (who, touch) in [(1, "release"), (2, "reserve")] {
        raise(store.as_ref(), [who], 250, START).await;
        let n = u128::from(who) * 10;
        accepted(store.as_ref(), reserve(n, who, 1), START).await;
        accepted(store.as_ref(), charge(n, who, all_of_it - 1, all_of_it - 1), START).await;
        let ahead = START + DAY;
        let touched = if touch == "release" { release(n, who) } else { reserve(n + 1, who, 1) };
        accepted(store.as_ref(), touched, ahead).await;
        if touch == "reserve" {
            accepted(store.as_ref(), release(n + 1, who), ahead).await;
        }
        accepted(store.as_ref(), fill(who, all_of_it), START).await;
        let charged = accepted(store.as_ref(), charge(n + 1, who, all_of_it, all_of_it), START).await;
        let Reply::Charged { absorbed, .. } = charged else { panic!("{charged:?}") };
        assert!(absorbed <= msats(1), "{touch}: {absorbed} of a day that was used up");
        assert_sound(&store).await;
    }
}

/// While somebody has an offer to pay, they get no other, whatever their day, the pool and the offers' share would allow.
pub async fn an_identity_has_one_offer_at_a_time(store: FreshStore) {
    let rules = budgets(0, 0, 0, 8);
    open_pool(&store, 22_000, 1..3).await;
    let offered = async |n, who, stage| {
        let job = job_of_at(store.as_ref(), &rules, n, who, stage, START).await;
        job.state.work().unwrap().reserved()
    };
    // Half of the pool is 11 sats: 8 of them for 2, what is left for 1. When 2 has paid, there is room again.
    assert_eq!(offered(1, 2, Stage::Accepted).await, msats(8_000));
    assert_eq!(offered(2, 1, Stage::WorkInvoiced).await, msats(3_000));
    let lease = store.job(job_id(1)).await.unwrap().unwrap().lease;
    pay_offer(&store, &rules, 1, 2, lease).await;
    assert_eq!(store.pool_counters().await.unwrap().offered, msats(3_000));
    assert_eq!(offered(3, 1, Stage::Accepted).await, Msats::ZERO);
    // Once 1 has paid theirs, they get what is left of their day.
    let paid = pay_of(2, 1, Purpose::JobWork, msats(6_000), START);
    accepted(store.as_ref(), paid, START).await;
    assert_eq!(offered(4, 1, Stage::Accepted).await, msats(5_000));
    assert_sound(&store).await;
}

/// Invoices an accepted job, and pays it.
async fn pay_offer(store: &FreshStore, rules: &Rules, n: u8, who: u32, lease: Lease) {
    let JobState::Accepted { work } = store.job(job_id(n)).await.unwrap().unwrap().state else {
        panic!("job {n} waits for its invoice")
    };
    let invoice = work_invoice(n, work.amount, START);
    let issue = Command::InvoiceIssue {
        job: job_id(n),
        identity: Some(pubkey(who)),
        invoice,
        lease: Some(lease),
        finish: None,
    };
    let pay = pay_of(n, who, Purpose::JobWork, work.amount.to_msats(), START);
    for outcome in commit_under(store.as_ref(), rules, vec![issue, pay], START).await {
        outcome.unwrap();
    }
}
