//! Several servers on one database, in each other's way.

use super::keys::{create, request};
use super::ledger::{SESSION, balance, committer, committer_at, hold_place, spend};
use super::{FreshStore, assert_sound};
use crate::command;
use crate::command::{Command, Reply};
use crate::scene::{START, Stage, accepted, claim, fund, job_at, job_id, msats, pay};
use std::collections::HashSet;
use std::time::Duration;
use tithe_engine::books::{Posting, Refusal};
use tithe_engine::committer::CommitError;
use tithe_jobs::JobId;
use tithe_ledger::{AccountId, HoldId, HoldState, LedgerError, TransferKey, TransferKind};
use tithe_lightning::Purpose;
use tithe_money::Msats;
use uuid::Uuid;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// The stores of two servers on one database.
pub type Servers = Vec<FreshStore>;

/// 16 workers at once on 40 jobs: every job is handed out, and none twice.
pub async fn no_job_is_handed_to_two_claims(servers: Servers) {
    let store = &servers[0];
    for n in 0..40 {
        job_at(store.as_ref(), n, Stage::Evaluating, START).await;
    }
    let mut workers = tokio::task::JoinSet::new();
    for owner in 0..16 {
        let store = servers[usize::from(owner) % 2].clone();
        workers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let jobs = store.jobs_claim(&claim(owner, START, 3)).await.unwrap();
                if jobs.is_empty() {
                    return mine;
                }
                assert!(jobs.len() <= 3);
                mine.extend(jobs.into_iter().map(|job| (job.id, job.lease)));
            }
        });
    }
    let claimed: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let distinct: HashSet<JobId> = claimed.iter().map(|(id, _)| *id).collect();
    assert_eq!((claimed.len(), distinct.len()), (40, 40));
    for (id, lease) in claimed {
        assert_eq!(store.job(id).await.unwrap().unwrap().lease, lease);
        assert_eq!(lease.attempts, 1);
    }
}

/// I3, the hard way: the same payment from 64 reporters on two servers at once.
pub async fn a_payment_reported_64_times_at_once_is_credited_once(servers: Servers) {
    let store = &servers[0];
    job_at(store.as_ref(), 1, Stage::Invoiced, START).await;
    let committers = servers.iter().map(committer).collect::<Vec<_>>();
    let mut reports = tokio::task::JoinSet::new();
    for n in 0..64 {
        let server = committers[n % 2].clone();
        reports.spawn(async move { server.commit(pay(1, Purpose::JobEval, START)).await.unwrap() });
    }
    let answers = reports.join_all().await;
    let credited = answers.iter().filter(|answer| matches!(answer, Reply::Credited(_))).count();
    let repeated = answers.iter().filter(|answer| **answer == Reply::AlreadyDone).count();
    assert_eq!((credited, repeated), (1, 63));
    assert_eq!(balance(store, AccountId::Job(job_id(1).0)).await, (msats(3_000), Msats::ZERO));
    assert_sound(store).await;
}

/// I2: 100 spenders and 100 holders at once on a balance for 60 of them.
pub async fn many_spenders_of_one_account_never_overdraw_it(servers: Servers) {
    let store = &servers[0];
    accepted(store.as_ref(), fund(SESSION, msats(60_500)), START).await;
    let committers = servers.iter().map(committer).collect::<Vec<_>>();
    let mut spenders = tokio::task::JoinSet::new();
    for n in 0..200_u32 {
        let server = committers[usize::try_from(n % 2).unwrap()].clone();
        let command = if n % 4 < 2 { spend(n, 1_000) } else { hold_place(n.into(), 1_000) };
        spenders.spawn(async move { server.commit(command).await });
    }
    let mut done = 0;
    for outcome in spenders.join_all().await {
        match outcome {
            Ok(_) => done += 1,
            Err(CommitError::Refused(Refusal::Ledger(LedgerError::Insufficient { .. }))) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(done, 60);
    let (left, held) = balance(store, SESSION).await;
    assert_eq!(left.checked_sub(held).unwrap(), msats(500));
    assert_sound(store).await;
}

/// I4: settle, release and expire of one hold, 30 at once: one wins.
pub async fn a_hold_ends_once_whoever_ends_it(servers: Servers) {
    let store = &servers[0];
    accepted(store.as_ref(), fund(SESSION, msats(10_000)), START).await;
    accepted(store.as_ref(), hold_place(1, 6_000), START).await;
    let committers = servers.iter().map(|store| committer_at(store, START + MINUTE)).collect::<Vec<_>>();
    let (hold, account) = (HoldId(Uuid::from_u128(1)), SESSION);
    let mut enders = tokio::task::JoinSet::new();
    for n in 0..30 {
        let server = committers[n % 2].clone();
        let command = match n % 3 {
            0 => Command::HoldSettle { hold, account, cost: msats(2_500) },
            1 => Command::HoldRelease { hold, account },
            _ => Command::HoldExpire { hold, account },
        };
        enders.spawn(async move { (n % 3, server.commit(command).await) });
    }
    let ended: Vec<usize> = enders
        .join_all()
        .await
        .into_iter()
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(how, _)| how)
        .collect();
    let state = store.hold(hold).await.unwrap().unwrap().state;
    let left = balance(store, SESSION).await;
    match ended.as_slice() {
        [0] => assert_eq!((state, left), (HoldState::Settled(msats(2_500)), (msats(7_500), Msats::ZERO))),
        [1] => assert_eq!((state, left), (HoldState::Released, (msats(10_000), Msats::ZERO))),
        [2] => {
            assert_eq!((state, left), (HoldState::Expired { late: None }, (msats(10_000), Msats::ZERO)));
        }
        // It expired first; then the work turned out to be done, and was charged, once.
        [_, _] => {
            let state_late = HoldState::Expired { late: Some(msats(2_500)) };
            assert_eq!((state, left), (state_late, (msats(7_500), Msats::ZERO)));
        }
        other => panic!("{other:?} ended it"),
    }
    assert_sound(store).await;
}

/// 32 equal requests at once, in batches of one: one makes a job.
pub async fn one_of_many_equal_requests_is_done(servers: Servers) {
    let store = &servers[0];
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..32 {
        let store = servers[usize::from(n) % 2].clone();
        requests.spawn(async move {
            let batch = command::batch(vec![create(n, request("mine", 1))], START);
            store.batch_commit(&batch).await.unwrap().outcomes.remove(0).is_ok()
        });
    }
    assert_eq!(requests.join_all().await.into_iter().filter(|done| *done).count(), 1);
    assert_eq!(store.jobs_never_invoiced(START + DAY, 99).await.unwrap().len(), 1);
}

/// A charge that two servers are asked for at once, on a balance for one: it is made, and both say so. Never is somebody told
/// that there was too little because of the very charge that they asked for.
pub async fn a_charge_asked_of_two_servers_at_once_is_made_and_told_by_both(servers: Servers) {
    let committers = servers.iter().map(committer).collect::<Vec<_>>();
    for n in 0..40_u32 {
        let account = AccountId::Session(Uuid::from_u128(u128::from(n)));
        accepted(servers[0].as_ref(), fund(account, msats(1_000)), START).await;
        let charge = Command::Post(Posting {
            key: TransferKey::new(format!("charge:{n}")),
            debit: account,
            credit: AccountId::Revenue,
            amount: msats(800),
            kind: TransferKind::Charge,
            reference: Uuid::nil(),
        });
        let hold = HoldId(Uuid::from_u128(u128::from(n)));
        let place = Command::HoldPlace { hold, account, amount: msats(150), lease: MINUTE };
        for command in [charge, place] {
            let mut asked = tokio::task::JoinSet::new();
            for committer in &committers {
                let (committer, command) = (committer.clone(), command.clone());
                asked.spawn(async move { committer.commit(command).await });
            }
            let mut told = asked.join_all().await;
            told.sort_by_key(|outcome| !matches!(outcome, Ok(Reply::Done | Reply::Hold(_))));
            match &told[..] {
                [Ok(Reply::Done), Ok(Reply::AlreadyDone)] => {}
                [Ok(Reply::Hold(_)), Err(CommitError::Refused(Refusal::Exists { .. }))] => {}
                other => panic!("{n}: {other:?}"),
            }
        }
        assert_eq!(balance(&servers[1], account).await, (msats(200), msats(150)));
    }
    assert_sound(&servers[0]).await;
}

/// Accounts that nobody has yet, opened by both at once; deposits that both report; holds that both place and settle.
/// Everything happens once, and nothing that one has written is overwritten by the other.
pub async fn what_two_servers_make_at_once_is_made_once(servers: Servers) {
    let committers = servers.iter().map(committer).collect::<Vec<_>>();
    let account = |n: u64| AccountId::Session(Uuid::from_u128(u128::from(n % 3)));
    let deposit = move |n: u64| {
        Command::Post(Posting {
            key: TransferKey::new(format!("deposit:{n}")),
            debit: AccountId::Operator,
            credit: account(n),
            amount: msats(1_000),
            kind: TransferKind::Adjustment,
            reference: Uuid::nil(),
        })
    };
    let hold = |n: u64| HoldId(Uuid::from_u128(u128::from(n)));
    let (mut made, mut settled) = (0, 0);
    for round in 0..20 {
        let mut calls = tokio::task::JoinSet::new();
        for n in round * 6..round * 6 + 6 {
            for committer in &committers {
                let (place_on, settle_on) = (committer.clone(), committer.clone());
                calls.spawn(async move {
                    let made = place_on.commit(deposit(n)).await.unwrap() == Reply::Done;
                    let lease = MINUTE;
                    let place =
                        Command::HoldPlace { hold: hold(n), account: account(n), amount: msats(600), lease };
                    let _by_one_of_us = settle_on.commit(place).await;
                    let settle = Command::HoldSettle { hold: hold(n), account: account(n), cost: msats(400) };
                    (made, settle_on.commit(settle).await.is_ok())
                });
            }
        }
        for (one_made, one_settled) in calls.join_all().await {
            made += u64::from(one_made);
            settled += u64::from(one_settled);
        }
    }
    assert_eq!((made, settled), (120, 120));
    for n in 0..3 {
        assert_eq!(balance(&servers[1], account(n)).await, (msats(40 * 600), Msats::ZERO));
    }
    assert_sound(&servers[0]).await;
}
