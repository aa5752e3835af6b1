//! Identities, and proofs that count once.

use super::FreshStore;
use crate::command::{Command, Reply};
use crate::people::{job_of, nonce_id, prove, pubkey};
use crate::scene::{START, accepted, commit, job_id};
use std::time::Duration;
use tithe_engine::books::Refusal;
use tithe_engine::records::AuthNonceKind;
use tithe_free_tier::Identity;

const HOUR: Duration = Duration::from_hours(1);
const INSTANT: Duration = Duration::from_micros(1);

async fn identity_of(store: &FreshStore, who: u32) -> Option<Identity> {
    store.identity(pubkey(who)).await.unwrap()
}

/// A key costs nothing, so who has only logged in leaves no row. Whoever has asked for something is seen, and never at an
/// earlier time than before.
pub async fn a_login_is_seen_of_whom_we_know(store: FreshStore) {
    let login = |proof, now| prove(proof, AuthNonceKind::Login, 1, now);
    assert_eq!(accepted(store.as_ref(), login(1, START), START).await, Reply::Done);
    assert_eq!(identity_of(&store, 1).await, None);
    accepted(store.as_ref(), job_of(1, 1, START), START).await;
    let mut wanted = Identity::new(pubkey(1), START);
    (wanted.trust.last_seen, wanted.trust.updated_at) = (START + HOUR, START + HOUR);
    let seen = accepted(store.as_ref(), login(2, START + HOUR), START + HOUR).await;
    assert_eq!(seen, Reply::Identity(Box::new(wanted.clone())));
    assert_eq!(identity_of(&store, 1).await, Some(wanted.clone()));
    // By the clock of a server that is behind.
    accepted(store.as_ref(), login(3, START), START).await;
    // A signed request is no login.
    let http = prove(4, AuthNonceKind::HttpAuth, 1, START + HOUR * 2);
    assert_eq!(accepted(store.as_ref(), http, START + HOUR * 2).await, Reply::Done);
    assert_eq!(identity_of(&store, 1).await, Some(wanted));
}

/// What refers to an identity comes with it; a request that makes no job makes no identity either.
pub async fn a_jobs_identity_is_made_with_it(store: FreshStore) {
    accepted(store.as_ref(), job_of(1, 1, START), START).await;
    assert_eq!(identity_of(&store, 1).await, Some(Identity::new(pubkey(1), START)));
    assert_eq!(store.job(job_id(1)).await.unwrap().unwrap().identity, Some(pubkey(1)));
    // The same job again, of somebody else: refused, and nobody was seen.
    let again = commit(store.as_ref(), vec![job_of(1, 2, START)], START).await;
    assert!(matches!(again[..], [Err(Refusal::Exists { .. })]), "{again:?}");
    assert_eq!(identity_of(&store, 2).await, None);
    // Two first jobs in one batch; and one of somebody whom we know, who stays as they were.
    let outcomes =
        commit(store.as_ref(), vec![job_of(2, 3, START), job_of(3, 3, START), job_of(4, 1, START)], START)
            .await;
    assert_eq!(outcomes, [Ok(Reply::Done), Ok(Reply::Done), Ok(Reply::Done)]);
    let later = START + HOUR;
    accepted(store.as_ref(), job_of(5, 1, later), later).await;
    assert_eq!(identity_of(&store, 1).await, Some(Identity::new(pubkey(1), START)));
}

/// Once, whoever uses it and for what, also within one batch; until it is not valid anyway. Then it is forgotten, and is no
/// more valid for that.
pub async fn a_proof_is_used_once_and_never_after_its_time(store: FreshStore) {
    let first = vec![
        prove(1, AuthNonceKind::Login, 1, START),
        prove(1, AuthNonceKind::Login, 1, START),
        prove(2, AuthNonceKind::HttpAuth, 1, START),
        prove(2, AuthNonceKind::Login, 2, START),
    ];
    let used = Err(Refusal::AuthNonceUsed);
    let outcomes = commit(store.as_ref(), first, START).await;
    assert_eq!(outcomes, [Ok(Reply::Done), used.clone(), Ok(Reply::Done), used.clone()]);
    let (nonce, kind, identity) = (nonce_id(3), AuthNonceKind::HttpAuth, pubkey(1));
    let long = Command::AuthNonceConsume { nonce, kind, identity, expires_at: START + HOUR };
    accepted(store.as_ref(), long.clone(), START).await;
    let expiry = START + Duration::from_mins(1);
    assert_eq!(store.auth_nonces_purge(expiry - INSTANT, 100).await.unwrap(), 0);
    let again = |at| commit(store.as_ref(), vec![prove(1, AuthNonceKind::HttpAuth, 3, START)], at);
    assert_eq!(again(expiry - INSTANT).await[0], used);
    assert_eq!(store.auth_nonces_purge(expiry, 100).await.unwrap(), 2);
    assert_eq!(store.auth_nonces_purge(expiry, 100).await.unwrap(), 0);
    assert_eq!(again(expiry).await[0], used, "what is forgotten has expired");
    assert_eq!(commit(store.as_ref(), vec![long], expiry).await, [used], "its time has not come");
    assert_eq!(store.auth_nonces_purge(START + HOUR, 100).await.unwrap(), 1);
    // A name that is free again is free: whatever it names then is another proof.
    let another = prove(1, AuthNonceKind::Login, 1, expiry);
    assert_eq!(accepted(store.as_ref(), another, expiry).await, Reply::Done);
}
