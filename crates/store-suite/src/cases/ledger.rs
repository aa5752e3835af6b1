//! Money under contention, replays and faults.

use super::{FreshStore, assert_sound};
use crate::scene::{START, Stage, accepted, commit, fund, job_at, job_id, msats, pay};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{ManualClock, Timestamp};
use tithe_engine::commands::{Answer, Command, Posting, Refusal};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::feed::JobFeed;
use tithe_ledger::{AccountId, HoldId, HoldState, LedgerError, TransferKey, TransferKind};
use tithe_lightning::Purpose;
use tithe_money::Msats;
use uuid::Uuid;

const SESSION: AccountId = AccountId::Session(Uuid::from_u128(7));
const MINUTE: Duration = Duration::from_mins(1);

fn committer(store: &FreshStore) -> Committer {
    committer_at(store, START)
}

fn committer_at(store: &FreshStore, now: Timestamp) -> Committer {
    Committer::start(store.clone(), Arc::new(ManualClock::at(now)), Arc::new(JobFeed::new()))
}

fn spend(n: u32, amount: u64) -> Command {
    Command::Post(Posting {
        key: TransferKey::new(format!("spend:{n}")),
        debit: SESSION,
        credit: AccountId::Revenue,
        amount: msats(amount),
        kind: TransferKind::Charge,
        reference: Uuid::nil(),
    })
}

fn place(hold: u128, amount: u64) -> Command {
    let hold = HoldId(Uuid::from_u128(hold));
    Command::HoldPlace { hold, account: SESSION, amount: msats(amount), lease: MINUTE }
}

async fn balance(store: &FreshStore, account: AccountId) -> (Msats, Msats) {
    let account = store.account(account).await.unwrap().unwrap();
    (account.balance(), account.held())
}

/// I3, the hard way: the same payment from 64 reporters on two servers at once.
pub async fn a_payment_reported_64_times_at_once_is_credited_once(store: FreshStore) {
    job_at(store.as_ref(), 1, Stage::Invoiced, START).await;
    let servers = [committer(&store), committer(&store)];
    let mut reports = tokio::task::JoinSet::new();
    for n in 0..64 {
        let server = servers[n % 2].clone();
        reports.spawn(async move { server.commit(pay(1, Purpose::JobEval, START)).await.unwrap() });
    }
    let answers = reports.join_all().await;
    let credited = answers.iter().filter(|answer| matches!(answer, Answer::JobMoved(_))).count();
    let repeated = answers.iter().filter(|answer| **answer == Answer::AlreadyDone).count();
    assert_eq!((credited, repeated), (1, 63));
    assert_eq!(balance(&store, AccountId::Job(job_id(1).0)).await, (msats(3_000), Msats::ZERO));
    assert_sound(&store).await;
}

/// I2: 100 spenders and 100 holders at once on a balance for 60 of them.
pub async fn many_spenders_of_one_account_never_overdraw_it(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(60_500)), START).await;
    let servers = [committer(&store), committer(&store)];
    let mut spenders = tokio::task::JoinSet::new();
    for n in 0..200_u32 {
        let server = servers[usize::try_from(n % 2).unwrap()].clone();
        let command = if n % 4 < 2 { spend(n, 1_000) } else { place(n.into(), 1_000) };
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
    let (left, held) = balance(&store, SESSION).await;
    assert_eq!(left.checked_sub(held).unwrap(), msats(500));
    assert_sound(&store).await;
}

/// I4: settle, release and expire of one hold, 30 at once: one wins.
pub async fn a_hold_ends_once_whoever_ends_it(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(10_000)), START).await;
    accepted(store.as_ref(), place(1, 6_000), START).await;
    let servers = [committer_at(&store, START + MINUTE), committer_at(&store, START + MINUTE)];
    let (hold, account) = (HoldId(Uuid::from_u128(1)), SESSION);
    let mut enders = tokio::task::JoinSet::new();
    for n in 0..30 {
        let server = servers[n % 2].clone();
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
    let left = balance(&store, SESSION).await;
    match ended.as_slice() {
        [0] => assert_eq!(
            (state, left),
            (HoldState::Settled { charged: msats(2_500) }, (msats(7_500), Msats::ZERO))
        ),
        [1] => assert_eq!((state, left), (HoldState::Released, (msats(10_000), Msats::ZERO))),
        [2] => {
            assert_eq!(
                (state, left),
                (HoldState::Expired { charged_late: None }, (msats(10_000), Msats::ZERO))
            );
        }
        // It expired first; then the work turned out to be done, and was charged, once.
        [_, _] => {
            let state_late = HoldState::Expired { charged_late: Some(msats(2_500)) };
            assert_eq!((state, left), (state_late, (msats(7_500), Msats::ZERO)));
        }
        other => panic!("{other:?} ended it"),
    }
    assert_sound(&store).await;
}

/// The sweeper is told of what ran out, longest overdue first, and of nothing else.
pub async fn overdue_holds_are_found(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(10_000)), START).await;
    accepted(store.as_ref(), place(1, 1_000), START + MINUTE).await;
    accepted(store.as_ref(), place(2, 1_000), START).await;
    accepted(store.as_ref(), place(3, 1_000), START).await;
    let hold = HoldId(Uuid::from_u128(3));
    accepted(store.as_ref(), Command::HoldRelease { hold, account: SESSION }, START).await;
    let overdue = async |now, limit| -> Vec<u128> {
        let holds = store.holds_overdue(now, limit).await.unwrap();
        holds.iter().map(|hold| hold.id.0.as_u128()).collect()
    };
    assert_eq!(overdue(START, 9).await, []);
    assert_eq!(overdue(START + MINUTE, 9).await, [2]);
    assert_eq!(overdue(START + MINUTE * 2, 9).await, [2, 1]);
    assert_eq!(overdue(START + MINUTE * 2, 1).await, [2]);
}

/// One batch, three commands, the middle one refused.
pub async fn a_refused_command_leaves_its_neighbours_alone(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(1_000)), START).await;
    let outcomes = commit(store.as_ref(), vec![spend(1, 400), spend(2, 700), spend(3, 600)], START).await;
    assert!(matches!(outcomes[..], [Ok(_), Err(Refusal::Ledger(LedgerError::Insufficient { .. })), Ok(_)]));
    assert_eq!(balance(&store, SESSION).await.0, Msats::ZERO);
    // A repeated key is done once, also within one batch.
    accepted(store.as_ref(), fund(AccountId::Pool, msats(1_000)), START).await;
    let outcomes = commit(store.as_ref(), vec![spend(1, 400), fund(AccountId::Pool, msats(5))], START).await;
    assert_eq!(outcomes, [Ok(Answer::AlreadyDone), Ok(Answer::AlreadyDone)]);
    assert_sound(&store).await;
}

/// A transfer whose key a hold's settlement will want: the settlement can then be decided, but not be written.
async fn plant_a_clash(store: &FreshStore, hold: u128) -> Command {
    accepted(store.as_ref(), place(hold, 1_000), START).await;
    let hold = HoldId(Uuid::from_u128(hold));
    let clash = Command::Post(Posting {
        key: TransferKey::new(format!("hold:{hold}:charge")),
        debit: AccountId::Operator,
        credit: AccountId::Revenue,
        amount: msats(1),
        kind: TransferKind::Adjustment,
        reference: Uuid::nil(),
    });
    accepted(store.as_ref(), clash, START).await;
    Command::HoldSettle { hold, account: SESSION, cost: msats(10) }
}

/// Rollback: nothing of the batch is there, neither what stood before the fault nor what stood after it.
pub async fn a_batch_that_cannot_be_written_leaves_nothing_behind(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(10_000)), START).await;
    let clash = plant_a_clash(&store, 1).await;
    let before = balance(&store, SESSION).await;
    let batch = tithe_engine::commands::Batch::new(vec![spend(1, 100), clash, spend(2, 100)], START);
    assert!(store.batch_commit(&batch).await.is_err());
    assert_eq!(balance(&store, SESSION).await, before);
    // The keys are still free: nothing of the batch was kept.
    assert_eq!(accepted(store.as_ref(), spend(1, 100), START).await, Answer::Done);
    assert_eq!(accepted(store.as_ref(), spend(2, 100), START).await, Answer::Done);
}

/// The same through the committer, among 40 others: only the one fails.
pub async fn the_committer_isolates_a_command_that_cannot_be_written(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(100_000)), START).await;
    let clash = plant_a_clash(&store, 1).await;
    let server = committer(&store);
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (server, command) = (server.clone(), if n == 20 { clash.clone() } else { spend(n, 100) });
        callers.spawn(async move { (n, server.commit(command).await) });
    }
    for (n, outcome) in callers.join_all().await {
        match outcome {
            Ok(answer) => assert!(n != 20 && answer == Answer::Done),
            Err(failure) => assert!(n == 20 && matches!(failure, CommitError::Failed), "{n}: {failure}"),
        }
    }
    assert_eq!(balance(&store, SESSION).await, (msats(100_000 - 39 * 100), msats(1_000)));
}

/// All the money there is, and one msat.
pub async fn amounts_come_back_to_the_last_msat(store: FreshStore) {
    for (account, amount) in [(AccountId::Pool, Msats::MAX), (SESSION, msats(1))] {
        accepted(store.as_ref(), fund(account, amount), START).await;
        assert_eq!(balance(&store, account).await.0, amount);
    }
    let more = Command::Post(Posting {
        key: TransferKey::new("more"),
        debit: AccountId::Operator,
        credit: AccountId::Pool,
        amount: msats(1),
        kind: TransferKind::Adjustment,
        reference: Uuid::nil(),
    });
    assert!(commit(store.as_ref(), vec![more], START).await[0].is_err());
    assert_sound(&store).await;
}
