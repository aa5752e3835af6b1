//! A command that touches a row which it did not declare.

use super::{FreshStore, rows};
use crate::command::Command;
use crate::installs::{
    ASK_LEASE, TEN, begin_keyed, begin_of, completed, expire_of, finish_keyed, install_id, licence_id,
    of_install, release_of, renew_of,
};
use crate::people::{account, charge, fill, pubkey, raise};
use crate::scene::{START, accepted, commit, fund, msats};
use std::sync::Arc;
use tithe_clock::ManualClock;
use tithe_engine::asks::{AskPayer, NewAskPayer};
use tithe_engine::books::{AnyCommand, Batch, Books, Command as EngineCommand, Refusal, RowKeys};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::credits::{CreditRequest, InstallsImport, LicenceRevoke};
use tithe_ledger::AccountId;
use tithe_ledger::credits::Install;

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
    Install,
    Credit,
    Origin,
    Revocation,
    Key,
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
            Forgotten::Install => keys.installs.clear(),
            Forgotten::Credit => keys.credits.clear(),
            Forgotten::Origin => keys.install_origins.clear(),
            Forgotten::Revocation => keys.licence_revocations.clear(),
            Forgotten::Key => keys.idempotency_keys.clear(),
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

/// The same for every row that a request of an install needs, at every step.
pub async fn a_request_of_an_install_that_declares_one_key_too_few_fails_and_changes_nothing(
    store: FreshStore,
) {
    let payer = AskPayer::Install(install_id(1));
    let [key, other_key] = ["an install", "another"].map(|by| super::keys::request(by, 1));
    let request = CreditRequest {
        licence: Some(licence_id(1)),
        origin: Some(("192.0.2.1".to_owned(), 9)),
        ..of_install(1, TEN)
    };
    let begin = begin_keyed(1, NewAskPayer::Install(request), &key);
    let import =
        Command::InstallsImport(InstallsImport { installs: vec![Install::new(install_id(2), START)] });
    let revoke = Command::LicenceRevoke(LicenceRevoke { licence: licence_id(2), reason: "none".to_owned() });
    let (install, credit, key_of) = (Forgotten::Install, Forgotten::Credit, Forgotten::Key);
    let steps = [
        (begin, vec![install, credit, key_of, Forgotten::Origin, Forgotten::Revocation]),
        (renew_of(1, payer, Some(&key)), vec![credit, key_of]),
        (finish_keyed(1, payer, completed(5), &key), vec![install, credit, key_of]),
        (import, vec![install]),
        (revoke, vec![Forgotten::Revocation]),
        (begin_of(3, of_install(1, TEN)), vec![install, credit]),
        (expire_of(3, install_id(1)), vec![install, credit]),
        (begin_keyed(4, NewAskPayer::Install(of_install(1, TEN)), &other_key), vec![install, credit, key_of]),
        (release_of(4, payer, Some(&other_key)), vec![install, credit, key_of]),
    ];
    for (n, (command, needed)) in (0_u32..).zip(steps) {
        let now = START + ASK_LEASE * n / 9;
        let name = command.name();
        for forgotten in needed {
            for hides in [false, true] {
                let before = rows(&store).await;
                let forgetful = Forgetful { command: command.clone(), forgotten, hides };
                let batch = Batch::new(vec![forgetful.into()], now);
                let outcomes = store.batch_commit(&batch).await.unwrap().outcomes;
                assert!(matches!(outcomes[..], [Err(Refusal::Undeclared(_))]), "{name}: {forgotten:?}");
                assert_eq!(rows(&store).await, before, "{name}: {forgotten:?}");
                assert_eq!(store.licences_revoked().await.unwrap().len(), usize::from(n > 4));
            }
        }
        // Without the fault the same can be done.
        accepted(store.as_ref(), command, if n == 6 { START + ASK_LEASE * 2 } else { now }).await;
    }
    super::assert_sound(&store).await;
}
