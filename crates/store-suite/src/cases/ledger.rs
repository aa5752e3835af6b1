//! Money under contention, replays and faults.

use super::{FreshStore, assert_sound};
use crate::command::{Command, Reply};
use crate::scene::{START, accepted, commit, fund, msats};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{ManualClock, Timestamp};
use tithe_engine::books::Rules;
use tithe_engine::books::{Posting, Refusal};
use tithe_engine::committer::{CommitError, Committer};
use tithe_ledger::{AccountId, HoldId, LedgerError, TransferKey, TransferKind};
use tithe_money::Msats;
use uuid::Uuid;

pub(super) const SESSION: AccountId = AccountId::Session(Uuid::from_u128(7));
const MINUTE: Duration = Duration::from_mins(1);

pub(super) fn committer(store: &FreshStore) -> Committer {
    committer_at(store, START)
}

pub(super) fn committer_at(store: &FreshStore, now: Timestamp) -> Committer {
    let rules = Arc::new(Rules::default());
    Committer::start(store.clone(), Arc::new(ManualClock::at(now)), rules, Arc::new(()))
}

pub(super) fn spend(n: u32, amount: u64) -> Command {
    Command::Post(Posting {
        key: TransferKey::new(format!("spend:{n}")),
        debit: SESSION,
        credit: AccountId::Revenue,
        amount: msats(amount),
        kind: TransferKind::Charge,
        reference: Uuid::nil(),
    })
}

pub(super) fn hold_place(hold: u128, amount: u64) -> Command {
    let hold = HoldId(Uuid::from_u128(hold));
    Command::HoldPlace { hold, account: SESSION, amount: msats(amount), lease: MINUTE }
}

pub(super) async fn balance(store: &FreshStore, account: AccountId) -> (Msats, Msats) {
    let account = store.account(account).await.unwrap().unwrap();
    (account.balance(), account.held())
}

/// The sweeper is told of what ran out, longest overdue first, and of nothing else.
pub async fn overdue_holds_are_found(store: FreshStore) {
    accepted(store.as_ref(), fund(SESSION, msats(10_000)), START).await;
    accepted(store.as_ref(), hold_place(1, 1_000), START + MINUTE).await;
    accepted(store.as_ref(), hold_place(2, 1_000), START).await;
    accepted(store.as_ref(), hold_place(3, 1_000), START).await;
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
    assert_eq!(outcomes, [Ok(Reply::AlreadyDone), Ok(Reply::AlreadyDone)]);
    assert_sound(&store).await;
}

/// A transfer whose key a hold's settlement will want: the settlement can then be decided, but not be written.
async fn plant_a_clash(store: &FreshStore, hold: u128) -> Command {
    accepted(store.as_ref(), hold_place(hold, 1_000), START).await;
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
    let batch = crate::command::batch(vec![spend(1, 100), clash, spend(2, 100)], START);
    assert!(store.batch_commit(&batch).await.is_err());
    assert_eq!(balance(&store, SESSION).await, before);
    // The keys are still free: nothing of the batch was kept.
    assert_eq!(accepted(store.as_ref(), spend(1, 100), START).await, Reply::Done);
    assert_eq!(accepted(store.as_ref(), spend(2, 100), START).await, Reply::Done);
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
            Ok(answer) => assert!(n != 20 && answer == Reply::Done),
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
