//! Holds of requests that grow while their answers are generated.

use super::ledger::committer_at;
use super::sessions::{active, begin, completed, extend, finish, request_id, session_id};
use super::{FreshStore, assert_sound, rows};
use crate::scene::{START, msats};
use std::time::Duration;
use tithe_engine::books::Refusal;
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::sessions::{
    SessionClose, SessionKeyRevoke, SessionRequestAbandon, SessionRequestBegun, SessionRequestExtend,
};
use tithe_ledger::{AccountId, HoldId, LedgerError};
use tithe_money::Msats;
use tithe_paywall::{KeyId, Limit, Period};
use tithe_sessions::{PresentedKey, RequestStateName};

const LEASE: Duration = Duration::from_secs(30);

fn key(n: u8, limit: Option<Limit>) -> PresentedKey {
    PresentedKey {
        id: KeyId::from_bytes([n; 16]),
        parent: (n > 1).then(|| KeyId::from_bytes([n - 1; 16])),
        caveats: format!("max_requests={n}"),
        limit,
    }
}

/// What the store says of request `n` of session 1: its limit, what is held for it, and the session's balance and all that is held.
async fn held(store: &FreshStore, n: u128) -> (u64, u64, u64, u64) {
    let request = store.session_request(request_id(n)).await.unwrap().unwrap();
    let hold = store.hold(HoldId(request_id(n).0)).await.unwrap().unwrap();
    let account = store.account(AccountId::Session(session_id(1).0)).await.unwrap().unwrap();
    let live = if hold.state.is_live() { hold.amount.get() } else { 0 };
    (request.limit.get(), live, account.balance().get(), account.held().get())
}

async fn grow(committer: &Committer, n: u128, limit: u64, keys: &[PresentedKey]) -> u64 {
    committer.commit(extend(1, n, limit, keys)).await.unwrap().get()
}

/// The hold, the account, the request and its keys grow together, by what is missing or what there is; doing it again changes nothing;
/// and what was held in all is settled as one.
pub async fn a_hold_grows_with_all_that_depends_on_it(store: FreshStore) {
    let committer = committer_at(&store, START);
    active(&committer, 1, 100_000).await;
    let keys = [key(1, Some(Limit::Requests(1))), key(2, Some(Limit::Total(msats(70_000)))), key(3, None)];
    let begun = committer.commit(begin(1, 1, 10_000, &keys)).await.unwrap();
    let SessionRequestBegun::New { left, .. } = begun else { panic!("{begun:?}") };
    assert_eq!(left, msats(60_000), "a key allows less than the balance");
    for _again in 0..2 {
        assert_eq!(grow(&committer, 1, 30_000, &keys).await, 30_000);
        assert_eq!(held(&store, 1).await, (30_000, 30_000, 100_000, 30_000));
    }
    // Less than there is shrinks nothing.
    assert_eq!(grow(&committer, 1, 20_000, &keys).await, 30_000);
    // The rest, twice: the outcome of the first may be unknown.
    for _again in 0..2 {
        assert_eq!(grow(&committer, 1, 90_000, &keys).await, 70_000);
        assert_eq!(held(&store, 1).await, (70_000, 70_000, 100_000, 70_000));
    }
    for key in store.session_keys(session_id(1)).await.unwrap() {
        assert_eq!((key.usage.reserved, key.usage.running), (msats(70_000), 1));
    }
    committer.commit(finish(1, 1, completed(69_000), &keys)).await.unwrap();
    assert_eq!(held(&store, 1).await, (70_000, 0, 31_000, 0));
    for key in store.session_keys(session_id(1)).await.unwrap() {
        assert_eq!(
            (key.usage.spent, key.usage.reserved, key.usage.requests),
            (msats(69_000), Msats::ZERO, 1)
        );
    }
    let before = rows(&store).await;
    let late = committer.commit(extend(1, 1, 90_000, &keys)).await;
    assert!(
        matches!(&late, Err(CommitError::Refused(Refusal::Ledger(LedgerError::HoldEnded { .. })))),
        "{late:?}"
    );
    assert_eq!(rows(&store).await, before);
    assert_sound(&store).await;
}

/// Of a session that has ended, and with a key that is revoked, a request that runs gets nothing more, and keeps what it has. Nothing
/// is charged that was not held.
pub async fn what_has_ended_pays_for_no_more(store: FreshStore) {
    let committer = committer_at(&store, START);
    active(&committer, 1, 100_000).await;
    let keys = [key(1, Some(Limit::Period(Period::Day, msats(90_000))))];
    committer.commit(begin(1, 1, 10_000, &keys)).await.unwrap();
    committer.commit(begin(1, 2, 10_000, &[])).await.unwrap();
    let revoke = SessionKeyRevoke { session: session_id(1), key: keys[0].id };
    committer.commit(revoke).await.unwrap();
    assert_eq!(grow(&committer, 1, 20_000, &keys).await, 10_000);
    assert_eq!(grow(&committer, 2, 20_000, &[]).await, 20_000);
    committer.commit(SessionClose { session: session_id(1), return_to: None }).await.unwrap();
    assert_eq!(grow(&committer, 2, 30_000, &[]).await, 20_000);
    assert_eq!(held(&store, 2).await, (20_000, 20_000, 30_000, 30_000));
    let done = committer.commit(finish(1, 1, completed(15_000), &keys)).await.unwrap();
    assert_eq!(done.request.cost().unwrap().charged, msats(10_000), "at most what was held");
    committer.commit(finish(1, 2, completed(15_000), &[])).await.unwrap();
    assert_eq!(held(&store, 2).await.2, 0, "the rest is refunded");
    assert_sound(&store).await;
}

/// The server of a request is gone in mid-stream: its lease, which growing has renewed, runs out, and everything that it held is
/// available again. Nothing is charged.
pub async fn a_request_that_has_grown_is_abandoned_as_a_whole(store: FreshStore) {
    let at = |seconds| committer_at(&store, START + Duration::from_secs(seconds));
    active(&at(0), 1, 100_000).await;
    let keys = [key(1, Some(Limit::Total(msats(90_000))))];
    at(0).commit(begin(1, 1, 10_000, &keys)).await.unwrap();
    assert_eq!(grow(&at(20), 1, 60_000, &keys).await, 60_000);
    let abandon = SessionRequestAbandon {
        request: request_id(1),
        session: session_id(1),
        keys: keys.iter().map(|key| key.id).collect(),
    };
    let early = at(40).commit(abandon.clone()).await;
    assert!(
        matches!(early, Err(CommitError::Refused(Refusal::Ledger(LedgerError::HoldLive(_))))),
        "{early:?}"
    );
    at(20 + LEASE.as_secs()).commit(abandon).await.unwrap();
    assert_eq!(held(&store, 1).await, (60_000, 0, 100_000, 0));
    let request = store.session_request(request_id(1)).await.unwrap().unwrap();
    assert_eq!((request.state_name(), request.cost()), (RequestStateName::Failed, None));
    let usage = store.session_keys(session_id(1)).await.unwrap()[0].usage;
    assert_eq!((usage.spent, usage.reserved, usage.running), (Msats::ZERO, Msats::ZERO, 0));
    let late: Result<Msats, _> = at(60).commit(extend(1, 1, 70_000, &keys)).await;
    assert!(matches!(late, Err(CommitError::Refused(_))), "{late:?}");
    assert_sound(&store).await;
}

/// Requests on two servers grow at once: together they hold no more than there is, and one that has got less than it wanted has got what
/// was left.
pub async fn requests_that_grow_at_once_share_the_balance(stores: Vec<FreshStore>) {
    let committers: Vec<Committer> = stores.iter().map(|store| committer_at(store, START)).collect();
    active(&committers[0], 1, 100_000).await;
    for n in 0..8 {
        committers[0].commit(begin(1, n, 5_000, &[])).await.unwrap();
    }
    let mut dry = 0;
    for round in 1..=4 {
        let wanted = 5_000 + round * 4_000;
        let growing = (0..8_u128).map(|n| {
            let command: SessionRequestExtend = extend(1, n, wanted, &[]);
            let committer = &committers[usize::try_from(n % 2).unwrap()];
            async move { committer.commit(command).await.unwrap().get() }
        });
        let limits = futures_util::future::join_all(growing).await;
        let held_in_all: u64 = limits.iter().sum();
        assert_eq!(held(&stores[0], 0).await.3, held_in_all);
        assert!(held_in_all <= 100_000);
        dry = limits.iter().filter(|limit| **limit < wanted).count();
        assert!(dry == 0 || held_in_all == 100_000, "what is left is given: {limits:?}");
    }
    assert!(dry > 0);
    for n in 0..8 {
        committers[1].commit(finish(1, n, completed(9_000), &[])).await.unwrap();
    }
    assert_eq!(held(&stores[0], 0).await.2, 100_000 - 8 * 9_000);
    assert_sound(&stores[0]).await;
}
