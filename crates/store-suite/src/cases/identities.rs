//! Identities, and proofs that count once.

use super::FreshStore;
use crate::people::{
    LEASE, budgets, charge, commit_under, job_of, proof_id, prove, pubkey, purse, release, reserve,
};
use crate::scene::{START, accepted, commit, fund, job_id, msats};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::commands::{Answer, Command, Refusal};
use tithe_engine::proof::ProofKind;
use tithe_free_tier::Standing;
use tithe_ledger::AccountId;

const HOUR: Duration = Duration::from_hours(1);
const INSTANT: Duration = Duration::from_micros(1);

async fn standing(store: &FreshStore, who: u32) -> Option<Standing> {
    store.standing(pubkey(who)).await.unwrap()
}

/// A stranger's first login makes their row; every other one says when, and never an earlier time.
pub async fn a_login_makes_the_row_and_keeps_when(store: FreshStore) {
    assert_eq!(standing(&store, 1).await, None);
    let Answer::Standing(first) = accepted(store.as_ref(), prove(1, ProofKind::Login, 1, START), START).await
    else {
        panic!("a login is answered with a standing");
    };
    assert_eq!(*first, Standing::new(pubkey(1), START));
    assert_eq!(standing(&store, 1).await, Some(*first.clone()));
    accepted(store.as_ref(), prove(2, ProofKind::Login, 1, START + HOUR), START + HOUR).await;
    // By the clock of a server that is behind.
    accepted(store.as_ref(), prove(3, ProofKind::Login, 1, START), START).await;
    let mut wanted = *first;
    (wanted.identity.last_seen, wanted.identity.updated_at) = (START + HOUR, START + HOUR);
    assert_eq!(standing(&store, 1).await, Some(wanted));
    // A signed request is of somebody who may have no row, and makes none.
    let http = prove(4, ProofKind::HttpAuth, 2, START);
    assert_eq!(accepted(store.as_ref(), http, START).await, Answer::Done);
    assert_eq!(standing(&store, 2).await, None);
}

/// What refers to an identity comes with it; a request that makes no job makes no identity either.
pub async fn a_jobs_identity_is_made_with_it(store: FreshStore) {
    accepted(store.as_ref(), job_of(1, 1, START), START).await;
    assert_eq!(standing(&store, 1).await, Some(Standing::new(pubkey(1), START)));
    assert_eq!(store.job(job_id(1)).await.unwrap().unwrap().identity, Some(pubkey(1)));
    // The same job again, of somebody else: refused, and nobody was seen.
    let again = commit(store.as_ref(), vec![job_of(1, 2, START)], START).await;
    assert!(matches!(again[..], [Err(Refusal::Exists(_))]), "{again:?}");
    assert_eq!(standing(&store, 2).await, None);
    // Two first jobs in one batch; and one of somebody whom we know, who stays as they were.
    let outcomes =
        commit(store.as_ref(), vec![job_of(2, 3, START), job_of(3, 3, START), job_of(4, 1, START)], START)
            .await;
    assert_eq!(outcomes, [Ok(Answer::Done), Ok(Answer::Done), Ok(Answer::Done)]);
    let later = START + HOUR;
    accepted(store.as_ref(), job_of(5, 1, later), later).await;
    assert_eq!(standing(&store, 1).await, Some(Standing::new(pubkey(1), START)));
}

/// Once, whoever uses it and for what, also within one batch; until it is not valid anyway, and then it is forgotten.
pub async fn a_proof_is_used_once_until_it_has_expired(store: FreshStore) {
    let first = vec![
        prove(1, ProofKind::Login, 1, START),
        prove(1, ProofKind::Login, 1, START),
        prove(2, ProofKind::HttpAuth, 1, START),
        prove(2, ProofKind::Login, 2, START),
    ];
    let outcomes = commit(store.as_ref(), first, START).await;
    assert!(
        matches!(
            outcomes[..],
            [Ok(Answer::Standing(_)), Err(Refusal::ProofUsed), Ok(Answer::Done), Err(Refusal::ProofUsed)]
        ),
        "{outcomes:?}"
    );
    assert_eq!(standing(&store, 2).await, None, "whose login was refused was not seen");
    let late = Command::ProofUse {
        proof: proof_id(3),
        kind: ProofKind::HttpAuth,
        identity: pubkey(1),
        expires_at: START + HOUR,
    };
    accepted(store.as_ref(), late, START).await;
    let expiry = START + Duration::from_mins(1);
    assert_eq!(store.proofs_purge(expiry - INSTANT).await.unwrap(), 0);
    let used = commit(store.as_ref(), vec![prove(1, ProofKind::HttpAuth, 3, START)], expiry).await;
    assert_eq!(used, [Err(Refusal::ProofUsed)]);
    assert_eq!(store.proofs_purge(expiry).await.unwrap(), 2);
    assert_eq!(store.proofs_purge(expiry).await.unwrap(), 0);
    let used = commit(store.as_ref(), vec![prove(3, ProofKind::HttpAuth, 1, START)], expiry).await;
    assert_eq!(used, [Err(Refusal::ProofUsed)], "its time has not come");
    assert_eq!(
        accepted(store.as_ref(), prove(1, ProofKind::HttpAuth, 1, expiry), expiry).await,
        Answer::Done
    );
}

/// Who logged in and never asked for anything is forgotten. Whoever has a job, a reservation or a past is not.
pub async fn only_strangers_are_forgotten(store: FreshStore) {
    let generous = budgets(1, 50, 200, 1_000);
    accepted(store.as_ref(), fund(AccountId::Pool, msats(100_000)), START).await;
    accepted(store.as_ref(), fund(purse(5), msats(1_000)), START).await;
    let login = |proof, who, now: Timestamp| prove(proof, ProofKind::Login, who, now);
    for (n, who) in (1..).zip(1..=6) {
        accepted(store.as_ref(), login(n, who, START), START).await;
    }
    // 1 is a stranger; 2 comes again; 3 asks for a job; 4 for a reservation; 5 pays; 6 had a reservation.
    accepted(store.as_ref(), login(12, 2, START + HOUR), START + HOUR).await;
    let asks = vec![job_of(1, 3, START), reserve(4, 4, 700), charge(5, 5, 1_000, 0), reserve(6, 6, 700)];
    for outcome in commit_under(store.as_ref(), &generous, asks, START).await {
        outcome.unwrap();
    }
    accepted(store.as_ref(), release(6, 6), START).await;
    let known = async || {
        let mut known = Vec::new();
        for who in 1..=6 {
            if standing(&store, who).await.is_some() {
                known.push(who);
            }
        }
        known
    };
    assert_eq!(store.strangers_purge(START).await.unwrap(), 0, "not before their time");
    assert_eq!(store.strangers_purge(START + INSTANT).await.unwrap(), 2);
    assert_eq!(known().await, [2, 3, 4, 5]);
    assert_eq!(store.strangers_purge(START + HOUR).await.unwrap(), 0);
    assert_eq!(store.strangers_purge(START + HOUR + INSTANT).await.unwrap(), 1);
    assert_eq!(known().await, [3, 4, 5]);
    super::assert_sound(&store).await;
    // The reservation has lapsed, and so has the reason to remember 4; work that ends after all makes them known anew.
    accepted(store.as_ref(), crate::people::lapse(4, 4), START + LEASE).await;
    assert_eq!(store.strangers_purge(START + HOUR * 2).await.unwrap(), 1);
    assert_eq!(known().await, [3, 5]);
    let late =
        commit_under(store.as_ref(), &generous, vec![crate::people::settle(4, 4, 600)], START + HOUR).await;
    assert!(late[0].is_ok(), "{late:?}");
    assert_eq!(known().await, [3, 4, 5]);
    assert_eq!(store.strangers_purge(START + HOUR * 9).await.unwrap(), 0);
    super::assert_sound(&store).await;
}
