//! Obligations and payouts: what is written comes back, and what is looked for is found.

use super::ledger::committer_at;
use super::owing::{
    DAY, Plant, account, address, begin, direct, failed, finish, flying, obligation, owe, paid, payout,
    plant, planted, planted_payout, preimage, request, sats, session_close, session_issue, session_open,
    session_pay,
};
use super::{FreshStore, assert_sound, rows};
use crate::scene::{START, msats};
use std::time::Duration;
use tithe_engine::books::{AnyCommand, Batch, Refusal};
use tithe_engine::committer::CommitError;
use tithe_engine::payouts::{OperatorSettlement, PayoutDefer, PayoutDirect, PayoutOutcome, PayoutSettle};
use tithe_engine::sessions::{ReturnTo, SessionClose};
use tithe_engine::store::StoreError;
use tithe_ledger::{AccountId, AccountName, Transfer, TransferKey, TransferKind};
use tithe_money::{Msats, Sats};
use tithe_payouts::{Attempt, Deferral, Destination, Obligation, Payout, PayoutError, PayoutState};
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// With every field set and with every optional one unset, and back.
pub async fn obligations_come_back_as_they_were_written(store: FreshStore) {
    assert_eq!(store.obligation(account(1)).await.unwrap(), None);
    let bare = planted(1, 0, START);
    let full = Obligation {
        accrued: Sats::MAX,
        due: Sats::MAX,
        destination: Some(address()),
        in_flight: Some(preimage(1).payment_hash()),
        last_paid: Some(preimage(2).payment_hash()),
        failures: u32::MAX,
        next_try_at: START + SECOND,
        problem: Some("'quoted' \"text\": ☃\n".to_owned()),
        updated_at: START + SECOND * 2,
        ..bare.clone()
    };
    let invoice = Obligation {
        destination: Some(Destination::Invoice(Box::new(request(1, Some(97))))),
        problem: Some(String::new()),
        due: Sats::ZERO,
        ..full.clone()
    };
    for row in [&bare, &full, &bare, &invoice, &full] {
        plant(&store, Plant { obligations: vec![row.clone()], ..Plant::default() }).await.unwrap();
        assert_eq!(store.obligation(account(1)).await.unwrap().as_ref(), Some(row));
        assert_eq!(store.obligations_of(&[account(1)]).await.unwrap(), std::slice::from_ref(row));
    }
    // Of every kind of account that a customer can have.
    let id = Uuid::from_u128(5);
    let owned = AccountId::Owned(AccountName::literal("customer"), id);
    for account in [AccountId::Job(id), AccountId::Session(id), AccountId::Bootstrap(id), owned] {
        let row = Obligation { account, ..full.clone() };
        plant(&store, Plant { obligations: vec![row.clone()], ..Plant::default() }).await.unwrap();
        assert_eq!(store.obligation(account).await.unwrap(), Some(row));
    }
    let seen = rows(&store).await;
    assert_eq!(seen.len(), 5, "the audit sees each once: {seen:?}");
}

/// In every state, and from each to each.
pub async fn payouts_come_back_as_they_were_written(store: FreshStore) {
    assert_eq!(store.payout(preimage(1).payment_hash()).await.unwrap(), None);
    plant(&store, Plant { obligations: vec![planted(1, 9, START)], ..Plant::default() }).await.unwrap();
    let states = [
        PayoutState::Paying { since: START + SECOND },
        PayoutState::Paid { preimage: preimage(1), fee: Msats::ZERO },
        PayoutState::Failed { reason: "'quoted' \"text\": ☃\n".to_owned() },
        PayoutState::Paid { preimage: preimage(1), fee: msats(1_001) },
        PayoutState::Failed { reason: String::new() },
    ];
    let before = planted_payout(1, 1, PayoutState::Paying { since: START }, START);
    for state in states.iter().chain(states.iter().rev()) {
        let row = Payout {
            amount: Sats::new(Sats::MAX.get() - 1).unwrap(),
            fee_limit: Sats::ZERO,
            state: state.clone(),
            attempts: u32::MAX,
            looks: u32::MAX,
            next_look_at: START + DAY,
            updated_at: START + SECOND * 3,
            ..before.clone()
        };
        for row in [row, Payout { state: state.clone(), ..before.clone() }] {
            plant(&store, Plant { payouts: vec![row.clone()], ..Plant::default() }).await.unwrap();
            assert_eq!(store.payout(row.payment_hash).await.unwrap().as_ref(), Some(&row));
            assert_eq!(store.payouts_of(account(1)).await.unwrap(), [row]);
        }
    }
    assert_eq!(rows(&store).await.len(), 2, "the audit sees each once");
}

/// Those that have waited longest first; nothing that is in flight, has no destination, or rests.
pub async fn obligations_that_can_be_paid_are_found(store: FreshStore) {
    let waiting = |n, due, secs| Obligation {
        destination: Some(address()),
        next_try_at: START + SECOND * secs,
        ..planted(n, due, START)
    };
    let invoice = Destination::Invoice(Box::new(request(2, Some(97))));
    let flying = Some(preimage(4).payment_hash());
    let obligations = vec![
        waiting(1, 100, 2),
        Obligation { destination: Some(invoice), ..waiting(2, 100, 1) },
        waiting(3, 100, 3_600),
        Obligation { in_flight: flying, ..waiting(4, 100, 0) },
        Obligation { destination: None, ..waiting(5, 100, 0) },
        Obligation { due: Sats::ZERO, ..waiting(6, 100, 0) },
        // A session takes what no payment could.
        Obligation { destination: Some(Destination::Session(Uuid::from_u128(7))), ..waiting(7, 1, 3_601) },
    ];
    plant(&store, Plant { obligations: obligations.clone(), ..Plant::default() }).await.unwrap();
    let payable = async |secs, limit| -> Vec<AccountId> {
        let found = store.obligations_payable(START + SECOND * secs, limit).await.unwrap();
        for owed in &found {
            assert!(obligations.contains(owed), "{owed:?}");
        }
        found.iter().map(|owed| owed.account).collect()
    };
    assert_eq!(payable(0, 9).await, []);
    assert_eq!(payable(1, 9).await, [account(2)]);
    assert_eq!(payable(3_599, 9).await, [account(2), account(1)]);
    assert_eq!(payable(3_600, 9).await, [account(2), account(1), account(3)]);
    assert_eq!(payable(3_601, 9).await, [account(2), account(1), account(3), account(7)]);
    assert_eq!(payable(3_600, 2).await, [account(2), account(1)]);
    assert_eq!(payable(3_600, 0).await, []);
}

/// In pages, in the order of the accounts; also what is in flight, rests, or has no destination.
pub async fn obligations_of_which_something_is_due_are_listed(store: FreshStore) {
    let id = Uuid::from_u128(3);
    let others = [AccountId::Job(id), AccountId::Bootstrap(id)];
    let mut obligations: Vec<Obligation> = (1..=5).map(|n| planted(n, 100, START)).collect();
    obligations[1].due = Sats::ZERO;
    obligations[2].in_flight = Some(preimage(1).payment_hash());
    obligations[3].destination = Some(address());
    obligations[3].next_try_at = START + DAY;
    obligations.extend(others.map(|account| Obligation { account, ..planted(9, 1, START) }));
    plant(&store, Plant { obligations: obligations.clone(), ..Plant::default() }).await.unwrap();
    // `bootstrap:…` comes before `job:…`, and this before `session:…`.
    let mut expected = vec![obligations[6].clone(), obligations[5].clone()];
    expected.extend([0, 2, 3, 4].map(|at| obligations[at].clone()));
    assert_eq!(store.obligations_due(None, 99).await.unwrap(), expected);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.obligations_due(after, 4).await.unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.account);
        seen.extend(page);
    }
    assert_eq!(seen, expected);
    // An account that has nothing due, or does not exist, is a place to go on from all the same.
    assert_eq!(store.obligations_due(Some(account(2)), 1).await.unwrap(), [obligations[2].clone()]);
    assert_eq!(store.obligations_due(Some(AccountId::Pool), 1).await.unwrap(), [obligations[0].clone()]);

    let asked = [account(4), account(8), account(2), AccountId::Job(id)];
    let mut found = store.obligations_of(&asked).await.unwrap();
    found.sort_by_key(|owed| owed.account.to_string());
    assert_eq!(found, [5, 1, 3].map(|at| obligations[at].clone()));
    assert_eq!(store.obligations_of(&[]).await.unwrap(), []);
}

/// Those of an obligation oldest first, and those in flight by when they are looked up.
pub async fn payouts_are_listed_and_those_in_flight_are_found(store: FreshStore) {
    let failed = || PayoutState::Failed { reason: "no".to_owned() };
    let paying = || PayoutState::Paying { since: START };
    let of = |n, invoice, state, secs| {
        let created_at = START + SECOND * secs;
        Payout { created_at, next_look_at: created_at, ..planted_payout(n, invoice, state, START) }
    };
    let paid = PayoutState::Paid { preimage: preimage(2), fee: Msats::ZERO };
    let payouts = vec![
        of(1, 1, failed(), 9),
        of(1, 2, paid, 3),
        of(1, 3, paying(), 5),
        of(1, 4, failed(), 3),
        of(2, 5, paying(), 4),
        of(3, 6, paying(), 3_600),
    ];
    let obligations = (1..=3).map(|n| planted(n, 100, START)).collect();
    plant(&store, Plant { obligations, payouts: payouts.clone(), ..Plant::default() }).await.unwrap();
    let mut first = [payouts[1].clone(), payouts[3].clone()];
    first.sort_by_key(|payout| payout.payment_hash);
    let expected = [&first[..], &[payouts[2].clone(), payouts[0].clone()]].concat();
    assert_eq!(store.payouts_of(account(1)).await.unwrap(), expected);
    assert_eq!(store.payouts_of(account(9)).await.unwrap(), []);
    let flying = async |secs, limit| store.payouts_in_flight(START + SECOND * secs, limit).await.unwrap();
    assert_eq!(flying(3, 9).await, []);
    assert_eq!(flying(5, 9).await, [payouts[4].clone(), payouts[2].clone()]);
    assert_eq!(flying(3_600, 9).await, [4, 2, 5].map(|at| payouts[at].clone()));
    assert_eq!(flying(3_600, 1).await, [payouts[4].clone()]);
}

/// The database itself refuses a second payout in flight for one account, in one batch and in two, and a payout of nobody; nothing of
/// such a batch is kept.
pub async fn an_account_has_one_payout_in_flight(store: FreshStore) {
    let paying = |n, invoice| planted_payout(n, invoice, PayoutState::Paying { since: START }, START);
    let failed = |invoice| planted_payout(1, invoice, PayoutState::Failed { reason: "no".to_owned() }, START);
    let write = async |payouts| plant(&store, Plant { payouts, ..Plant::default() }).await;
    let refused = |outcome| matches!(outcome, Err(StoreError::Failed(_)));
    let obligations = (1..=2).map(|n| planted(n, 100, START)).collect();
    plant(&store, Plant { obligations, ..Plant::default() }).await.unwrap();
    let before = rows(&store).await;
    assert!(refused(write(vec![paying(1, 1), paying(1, 2)]).await));
    assert!(refused(write(vec![paying(9, 1)]).await), "there is no such obligation");
    assert_eq!(rows(&store).await, before);
    write(vec![paying(1, 1), paying(2, 2), failed(3), failed(4)]).await.unwrap();
    let before = rows(&store).await;
    assert!(refused(write(vec![paying(1, 5)]).await));
    // Not by a change either.
    let again = paying(1, 3);
    assert!(refused(write(vec![failed(6), again.clone()]).await));
    assert_eq!(rows(&store).await, before);
    write(vec![failed(1)]).await.unwrap();
    write(vec![again]).await.unwrap();
}

/// Each command writes what the domain decided: a reader on the store sees it.
pub async fn the_steps_of_a_payout_come_back_as_they_were_written(store: FreshStore) {
    flying(&store).await;
    let (owed, begun) = (obligation(&store, 1).await, payout(&store, 1).await);
    assert_eq!((owed.due, owed.in_flight), (sats(100), Some(begun.payment_hash)));
    assert_eq!((begun.amount, begun.fee_limit, begun.attempts), (sats(97), sats(3), 1));
    assert_sound(&store).await;
    let first = Attempt { number: 1 };
    let later = committer_at(&store, START + SECOND);
    let unknown = *later.commit(finish(1, 1, 1, PayoutOutcome::Unknown)).await.unwrap();
    assert_eq!(unknown, begun.looked_up(first, START + SECOND).unwrap());
    assert_eq!(payout(&store, 1).await, unknown);
    let again = *later.commit(finish(1, 1, 1, PayoutOutcome::SendAgain)).await.unwrap();
    assert_eq!(payout(&store, 1).await, again);
    assert_eq!(again.attempts, 2);
    // The word on the first attempt comes late.
    let late = later.commit(finish(1, 1, 1, failed())).await;
    assert!(matches!(late, Err(CommitError::Refused(Refusal::Payout(PayoutError::NotInFlight(_))))));
    let ended = *later.commit(finish(1, 1, 2, failed())).await.unwrap();
    assert_eq!(payout(&store, 1).await, ended);
    let rests = obligation(&store, 1).await;
    assert_eq!((rests.due, rests.in_flight, rests.failures), (sats(100), None, 1));
    assert_sound(&store).await;

    let defer =
        |why| PayoutDefer { account: account(1), destination: address(), why, problem: "no".to_owned() };
    later.commit(defer(Deferral::Unavailable)).await.unwrap();
    assert_eq!(obligation(&store, 1).await, rests.deferred(Deferral::Unavailable, "no", START + SECOND));
    later.commit(begin(1, 1, Some(97))).await.unwrap();
    let refused = later.commit(defer(Deferral::Ours)).await;
    assert!(matches!(refused, Err(CommitError::Refused(Refusal::Payout(PayoutError::InFlight(_))))));
    let done = *later.commit(finish(1, 1, 3, paid(1))).await.unwrap();
    assert_eq!(done.state, PayoutState::Paid { preimage: preimage(1), fee: msats(1_234) });
    assert_eq!(payout(&store, 1).await, done);
    let met = obligation(&store, 1).await;
    assert_eq!(
        (met.due, met.last_paid, met.destination),
        (Sats::ZERO, Some(done.payment_hash), Some(address()))
    );
    let moved = store.wallet_transfers(START + SECOND).await.unwrap();
    assert_eq!(moved.iter().map(|transfer| transfer.amount.get()).collect::<Vec<_>>(), [97_000, 1_234]);
    assert_sound(&store).await;

    // The operator settles what another customer is owed.
    owe(&later, 2, 50).await;
    let settle = |id, how, amount| PayoutSettle {
        id: Uuid::from_u128(id),
        account: account(2),
        amount: sats(amount),
        how,
    };
    let elsewhere = settle(1, OperatorSettlement::PaidElsewhere, 20);
    for _ in 0..2 {
        let left = later.commit(elsewhere.clone()).await.unwrap();
        assert_eq!((left.due, &*left), (sats(30), &obligation(&store, 2).await));
    }
    let much = later.commit(settle(2, OperatorSettlement::Forfeited, 31)).await;
    assert!(matches!(much, Err(CommitError::Refused(Refusal::Payout(PayoutError::TooMuch { .. })))));
    later.commit(settle(3, OperatorSettlement::Forfeited, 30)).await.unwrap();
    assert_eq!(obligation(&store, 2).await.due, Sats::ZERO);
    assert_sound(&store).await;
}

/// A late payment is owed besides what is in flight, and stays due when that is paid.
pub async fn what_becomes_due_while_a_payment_is_in_flight_stays_due(store: FreshStore) {
    let committer = committer_at(&store, START);
    session_open(&committer, 1, 100).await;
    committer.commit(session_issue(1, 1, 60)).await.unwrap();
    committer.commit(session_close(1)).await.unwrap();
    committer.commit(direct(1, address())).await.unwrap();
    committer.commit(begin(1, 1, Some(97))).await.unwrap();
    committer.commit(session_pay(1, 1, 60)).await.unwrap();
    let more = obligation(&store, 1).await;
    assert_eq!((more.accrued, more.due), (sats(160), sats(160)));
    assert_eq!(more.in_flight, Some(preimage(1).payment_hash()));
    assert_sound(&store).await;
    committer.commit(finish(1, 1, 1, paid(1))).await.unwrap();
    let rest = obligation(&store, 1).await;
    assert_eq!((rest.accrued, rest.due, rest.in_flight), (sats(160), sats(60), None));
    assert_eq!(store.obligations_payable(START, 9).await.unwrap(), [rest]);
    assert_sound(&store).await;
}

/// A session that is closed with an address remembers it: what becomes due later is paid there too.
pub async fn the_address_that_a_session_is_closed_with_comes_back(store: FreshStore) {
    let committer = committer_at(&store, START);
    session_open(&committer, 1, 100).await;
    committer.commit(session_issue(1, 1, 60)).await.unwrap();
    let PayoutDirect { destination, fees, network, .. } = direct(1, address());
    let return_to = Some(ReturnTo { destination, fees, network });
    let closed = *committer.commit(SessionClose { return_to, ..session_close(1) }).await.unwrap();
    assert_eq!(closed.return_to.clone().map(Destination::from), Some(address()));
    assert_eq!(store.session(closed.id).await.unwrap(), Some(closed));
    let owed = obligation(&store, 1).await;
    assert_eq!((owed.due, owed.destination), (sats(100), Some(address())));
    committer.commit(session_pay(1, 1, 60)).await.unwrap();
    assert_eq!(store.obligations_payable(START, 9).await.unwrap(), [obligation(&store, 1).await]);
    assert_eq!(obligation(&store, 1).await.due, sats(160));
    assert_sound(&store).await;
}

/// Rollback: a payout whose transfers cannot be written stays in flight, and what stood beside it in the batch is not there.
pub async fn an_outcome_that_cannot_be_written_leaves_the_payout_in_flight(store: FreshStore) {
    flying(&store).await;
    let committer = committer_at(&store, START);
    owe(&committer, 2, 50).await;
    let clash = Plant { transfers: vec![transfer_of(1, 1_000)], ..Plant::default() };
    plant(&store, clash).await.unwrap();
    let before = rows(&store).await;
    let commands: Vec<AnyCommand> =
        vec![direct(2, address()).into(), finish(1, 1, 1, paid(1)).into(), begin(2, 2, None).into()];
    let outcome = store.batch_commit(&Batch::new(commands, START)).await;
    assert!(matches!(outcome, Err(StoreError::Failed(_))), "{outcome:?}");
    assert_eq!(rows(&store).await, before);
}

/// The transfer that books the payment of an invoice.
fn transfer_of(invoice: u128, amount: u64) -> Transfer {
    Transfer {
        key: TransferKey::new(format!("payout:{}", preimage(invoice).payment_hash())),
        debit: AccountId::RefundsDue,
        credit: AccountId::Wallet,
        amount: msats(amount),
        kind: TransferKind::RefundPaid,
        reference: Uuid::nil(),
        created_at: START,
    }
}
