//! A command that touches a row which it did not declare.

use super::{FreshStore, rows};
use crate::command::Command;
use crate::people::{account, charge, fill, pubkey, raise};
use crate::scene::{START, accepted, commit, fund, msats};
use std::sync::Arc;
use tithe_clock::ManualClock;
use tithe_engine::books::{AnyCommand, Batch, Books, Command as EngineCommand, Refusal, RowKeys};
use tithe_engine::committer::{CommitError, Committer};
use tithe_ledger::AccountId;

/// A command without the declaration of one of its rows.
#[derive(Debug, Clone)]
struct Forgetful {
    command: Command,
    forgotten: Forgotten,
    /// Whether it hides the error, as a command with one more bug could.
    hides: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgotten {
    Account(AccountId),
    Identity,
    Counters,
    Transfer,
}

impl EngineCommand for Forgetful {
    type Reply = ();
    const NAME: &'static str = "forgetful";

    fn declare(&self, keys: &mut RowKeys) {
        self.command.declare(keys);
        match self.forgotten {
            Forgotten::Account(account) => drop(keys.accounts.remove(&account)),
            Forgotten::Identity => keys.identities.clear(),
            Forgotten::Counters => keys.pool_counters.clear(),
            Forgotten::Transfer => keys.transfers.clear(),
        }
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        match self.command.decide(books) {
            Err(_) if self.hides => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// It fails, alone, and changes nothing: an undeclared row is not taken for one that does not exist, even where the command
/// hides the error, and even where another command of the batch has declared the row.
pub async fn a_command_that_declares_one_key_too_few_fails_and_changes_nothing(store: FreshStore) {
    accepted(store.as_ref(), fund(AccountId::Pool, msats(1_000_000)), START).await;
    accepted(store.as_ref(), fill(1, 1_000_000), START).await;
    raise(store.as_ref(), [1], 250, START).await;
    let committer =
        Committer::start(store.clone(), Arc::new(ManualClock::at(START)), Arc::default(), Arc::new(()));
    let forgotten = [
        Forgotten::Account(account(1)),
        Forgotten::Account(AccountId::Pool),
        Forgotten::Identity,
        Forgotten::Counters,
        Forgotten::Transfer,
    ];
    for (n, forgotten) in (0..).zip(forgotten) {
        for hides in [false, true] {
            let before = rows(&store).await;
            let id = 1 + n * 2 + u128::from(hides);
            let command = Forgetful { command: charge(id, 1, 900, 400), forgotten, hides };
            let outcome = committer.commit(command.clone()).await;
            assert!(matches!(outcome, Err(CommitError::Failed)), "{forgotten:?}: {outcome:?}");
            assert_eq!(rows(&store).await, before, "{forgotten:?}");
            // Beside a command that does declare the rows, which is not disturbed.
            let complete: AnyCommand = charge(100 + id, 1, 700, 300).into();
            let batch = Batch::new(vec![complete.clone(), command.into(), complete], START);
            let outcomes = store.batch_commit(&batch).await.unwrap().outcomes;
            assert!(matches!(outcomes[..], [Ok(_), Err(Refusal::Undeclared(_)), Ok(_)]), "{outcomes:?}");
        }
    }
    // Without the fault the same can be done.
    let outcomes = commit(store.as_ref(), vec![charge(1, 1, 900, 400)], START).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(store.identity(pubkey(1)).await.unwrap().is_some());
    super::assert_sound(&store).await;
}
