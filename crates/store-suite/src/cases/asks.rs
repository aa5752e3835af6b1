//! Plain requests: what is set aside for them, how they end, and under which keys.

use super::keys::request;
use super::{FreshStore, assert_sound, rows};
use crate::command::{Command, Reply, batch};
use crate::installs::{
    ASK_LEASE, TEN, ask_id, begin_keyed, begin_of, completed, expire_of, finish_keyed, finish_of, install_id,
    licence_id, of_install, release_of, renew_of,
};
use crate::people::{budgets, commit_under, pubkey};
use crate::scene::{START, accepted, commit, fund, msats};
use std::time::Duration;
use tithe_engine::asks::{AskBegin, AskOutcome, AskPayer, NewAskPayer};
use tithe_engine::books::Refusal;
use tithe_engine::credits::{CreditRequest, LicenceRevoke};
use tithe_engine::identities::{AuthNonceConsume, RequestSignature};
use tithe_engine::records::{AuthNonceKind, IdempotencyState};
use tithe_free_tier::{ReservationId, ReservationState};
use tithe_ledger::AccountId;
use tithe_ledger::credits::{
    Counters, Credit, CreditError, CreditId, CreditRefusal, CreditState, Plan, TooManyInstalls,
};
use tithe_money::Msats;

const PAYER: AskPayer = AskPayer::Install(install_id(1));

fn rejected() -> AskOutcome {
    AskOutcome::Rejected { reason: "no".to_owned() }
}

async fn credit(store: &FreshStore, n: u128) -> Credit {
    store.credit(CreditId(ask_id(n))).await.unwrap().unwrap()
}

/// What install 1 has used of its lifetime's quota: consumed, reserved.
async fn used(store: &FreshStore) -> (u64, u64) {
    let Counters { consumed, reserved, .. } = store.install(install_id(1)).await.unwrap().unwrap().lifetime;
    (consumed, reserved)
}

async fn earned(store: &FreshStore) -> Msats {
    let mut earned = Msats::ZERO;
    for row in rows(store).await {
        if let tithe_engine::store::AuditRow::Transfer(transfer) = row {
            assert_eq!((transfer.debit, transfer.credit), (AccountId::Operator, AccountId::Revenue));
            earned = earned.checked_add(transfer.amount).unwrap();
        }
    }
    earned
}

/// Done, failed, rejected or expired: the request is consumed only if it was done, what it cost is in the ledger, and it ends once.
pub async fn a_request_that_a_plan_includes_ends_once(store: FreshStore) {
    let step = async |command| commit(store.as_ref(), vec![command], START).await.remove(0);
    for n in 1..=4 {
        let Ok(Reply::Credit(row)) = step(begin_of(n, of_install(1, TEN))).await else { panic!("{n}") };
        assert_eq!(row.used_after, u64::try_from(n).unwrap());
        assert_eq!(credit(&store, n).await, *row);
    }
    assert_eq!(used(&store).await, (0, 4));
    let again = step(begin_of(1, of_install(1, TEN))).await;
    assert!(matches!(again, Err(Refusal::Exists { .. })), "{again:?}");
    let Ok(Reply::Answered(finished)) = step(finish_of(1, PAYER, completed(700))).await else { panic!() };
    assert_eq!((finished.cost, finished.absorbed), (msats(700), Msats::ZERO));
    assert_eq!(finished.balance.map(|left| (left.remaining, left.cloud_remaining)), Some((Some(6), Some(0))));
    assert_eq!(step(release_of(2, PAYER, None)).await, Ok(Reply::Done));
    let Ok(Reply::Answered(finished)) = step(finish_of(3, PAYER, rejected())).await else { panic!() };
    assert_eq!((finished.answer, finished.cost), (Err("no".to_owned()), Msats::ZERO));
    let late = commit(store.as_ref(), vec![expire_of(4, install_id(1))], START + ASK_LEASE).await.remove(0);
    assert_eq!(late, Ok(Reply::Done));
    let states = [CreditState::Settled(()), CreditState::Released, CreditState::Released];
    for (n, state) in (1..).zip(states) {
        assert_eq!(credit(&store, n).await.state, state, "{n}");
        let before = rows(&store).await;
        let failed = step(release_of(n, PAYER, None)).await;
        assert_eq!(failed, Ok(Reply::Done), "giving back again changes nothing");
        for again in
            [finish_of(n, PAYER, completed(5)), renew_of(n, PAYER, None), expire_of(n, install_id(1))]
        {
            let outcome = step(again).await;
            assert!(matches!(outcome, Err(Refusal::Credit(CreditError::Ended { .. }))), "{n}: {outcome:?}");
        }
        assert_eq!(rows(&store).await, before, "{n}");
    }
    assert_eq!(used(&store).await, (1, 0));
    // The work of the one that expired turns out to be done.
    let Ok(Reply::Answered(_)) = step(finish_of(4, PAYER, completed(50))).await else { panic!() };
    assert_eq!(used(&store).await, (2, 0));
    assert_eq!(earned(&store).await, msats(750));
    assert_sound(&store).await;
}

/// The pool pays at most what was reserved; the rest is the operator's loss. A rejection that is committed twice, because its outcome
/// was not known, costs trust once.
pub async fn a_request_that_the_pool_pays_for_ends_once(store: FreshStore) {
    let rules = budgets(10, 10, 10, 10);
    accepted(store.as_ref(), fund(AccountId::Pool, msats(100_000)), START).await;
    let who = pubkey(1);
    let pool = || NewAskPayer::Pool { identity: who, amount: msats(2_000) };
    let payer = AskPayer::Pool(who);
    let step = async |command| commit_under(store.as_ref(), &rules, vec![command], START).await.remove(0);
    let reservation = async |n| store.reservation(ReservationId(ask_id(n))).await.unwrap().unwrap();
    for n in 1..=3 {
        let begin = crate::installs::ask_begin(n, pool());
        let Ok(Reply::Reservation(row)) = step(Command::AskBegin(Box::new(begin))).await else {
            panic!("{n}")
        };
        assert_eq!(reservation(n).await, row);
    }
    assert_eq!(step(renew_of(1, payer, None)).await, Ok(Reply::Done));
    let Ok(Reply::Answered(done)) = step(finish_of(1, payer, completed(2_500))).await else { panic!() };
    assert_eq!((done.cost, done.absorbed, done.balance), (msats(2_500), msats(2_000), None));
    assert_eq!(step(release_of(2, payer, None)).await, Ok(Reply::Done));
    assert_eq!(reservation(2).await.state, ReservationState::Released);
    for times in 1..=2 {
        let Ok(Reply::Answered(finished)) = step(finish_of(3, payer, rejected())).await else { panic!() };
        assert_eq!(finished.answer, Err("no".to_owned()));
        let seen = store.identity(who).await.unwrap().unwrap();
        assert_eq!(
            (seen.trust.interactions, seen.window.reserved),
            (2, Msats::ZERO),
            "rejected {times} times"
        );
    }
    // Nobody ends the request of another.
    let begin = crate::installs::ask_begin(4, pool());
    step(Command::AskBegin(Box::new(begin))).await.unwrap();
    let before = rows(&store).await;
    let other = AskPayer::Pool(pubkey(2));
    let ends = [completed(1), rejected()].map(|outcome| finish_of(4, other, outcome));
    for end in ends.into_iter().chain([release_of(4, other, None)]) {
        let outcome = step(end).await;
        assert!(matches!(outcome, Err(Refusal::FreeTier(_))), "{outcome:?}");
    }
    assert_eq!(rows(&store).await, before);
    assert_sound(&store).await;
}

/// The key replays what was answered. Whoever comes after a dead request begins anew: the dead one, should it go on after all, gives
/// back what it had set aside, and takes nothing.
pub async fn a_request_under_a_key_is_answered_once(store: FreshStore) {
    let key = request("an install", 1);
    let begin = |n| begin_keyed(n, NewAskPayer::Install(of_install(1, TEN)), &key);
    let at =
        async |after: Duration, command| commit(store.as_ref(), vec![command], START + after).await.remove(0);
    assert!(matches!(at(Duration::ZERO, begin(1)).await, Ok(Reply::Credit(_))));
    // The key is in use for as long as the credit is reserved.
    assert_eq!(at(ASK_LEASE / 2, begin(2)).await, Err(Refusal::RequestInProgress));
    assert_eq!(at(ASK_LEASE / 2, renew_of(1, PAYER, Some(&key))).await, Ok(Reply::Done));
    let other = begin_keyed(2, NewAskPayer::Install(of_install(1, TEN)), &request("an install", 2));
    assert_eq!(at(ASK_LEASE, other).await, Err(Refusal::IdempotencyKeyReused));
    assert_eq!(used(&store).await, (0, 1));
    let dead = ASK_LEASE * 2;
    assert!(matches!(at(dead, begin(2)).await, Ok(Reply::Credit(_))));
    assert_eq!(used(&store).await, (0, 2));
    // The first is not dead: it neither renews anything nor is it answered.
    let renewed = at(dead, renew_of(1, PAYER, Some(&key))).await;
    assert!(matches!(renewed, Err(Refusal::LeaseLost { .. })), "{renewed:?}");
    assert_eq!(at(dead, finish_keyed(1, PAYER, completed(900), &key)).await, Ok(Reply::GivenBack));
    assert_eq!((used(&store).await, earned(&store).await), ((0, 1), Msats::ZERO));
    assert_eq!(credit(&store, 1).await.state, CreditState::Released);
    let running = store.idempotency(&key.id).await.unwrap().unwrap();
    assert_eq!(running.subject, Some(ask_id(2)));
    assert!(matches!(running.state, IdempotencyState::InProgress { .. }), "{running:?}");
    assert!(matches!(at(dead, finish_keyed(2, PAYER, completed(400), &key)).await, Ok(Reply::Answered(_))));
    let before = rows(&store).await;
    let Ok(Reply::Replayed(response)) = at(dead, begin(3)).await else { panic!() };
    assert!(response.body.starts_with(&ask_id(2).to_string()), "{response:?}");
    assert!(response.body.ends_with("left: Some(Some(9))"), "{response:?}");
    assert_eq!(rows(&store).await, before);
    assert_eq!((used(&store).await, earned(&store).await), ((1, 0), msats(400)));
    // One that fails frees its key at once.
    let next = request("another", 1);
    let begin = |n| begin_keyed(n, NewAskPayer::Install(of_install(1, TEN)), &next);
    at(dead, begin(4)).await.unwrap();
    assert_eq!(at(dead, release_of(4, PAYER, Some(&next))).await, Ok(Reply::Done));
    assert!(matches!(at(dead, begin(5)).await, Ok(Reply::Credit(_))));
    assert_eq!(used(&store).await, (1, 1));
    assert_sound(&store).await;
}

/// With the signature, the key and the new install of a request that is refused, all of it is undone, and only of that.
pub async fn a_refused_request_leaves_nothing_behind_beside_others(store: FreshStore) {
    let one = tithe_ledger::credits::Quota { requests: Some(1), ..TEN };
    let signed = |n: u8, of: CreditRequest| {
        let nonce = AuthNonceConsume {
            nonce: crate::people::nonce_id(n),
            kind: AuthNonceKind::HttpAuth,
            pubkey: pubkey(1),
            expires_at: START + ASK_LEASE,
        };
        let begin = crate::installs::ask_begin(n.into(), NewAskPayer::Install(of));
        Command::AskBegin(Box::new(AskBegin {
            signature: RequestSignature(Some(nonce)),
            idempotency: Some(request(&format!("request {n}"), n)),
            ..begin
        }))
    };
    let nothing = tithe_ledger::credits::Quota { requests: Some(0), ..TEN };
    let commands = vec![
        signed(1, of_install(1, one)),
        signed(2, of_install(1, one)),
        signed(3, of_install(3, nothing)),
        signed(4, of_install(4, one)),
    ];
    let outcomes = commit(store.as_ref(), commands, START).await;
    let out = Refusal::Credit(CreditError::Refused(CreditRefusal::OutOfCredits));
    assert!(
        matches!(&outcomes[..], [Ok(Reply::Credit(_)), Err(one), Err(two), Ok(Reply::Credit(_))] if *one == out && *two == out),
        "{outcomes:?}"
    );
    for (n, is_there) in [(1, true), (2, false), (3, false), (4, true)] {
        let key = request(&format!("request {n}"), n);
        assert_eq!(store.idempotency(&key.id).await.unwrap().is_some(), is_there, "{n}");
        assert_eq!(store.credit(CreditId(ask_id(n.into()))).await.unwrap().is_some(), is_there, "{n}");
    }
    assert_eq!(store.install(install_id(3)).await.unwrap(), None);
    // The same bytes can be sent again, once they are accepted.
    let again = vec![signed(2, of_install(5, one)), signed(1, of_install(5, one))];
    let outcomes = commit(store.as_ref(), again, START).await;
    assert!(matches!(outcomes[..], [Ok(Reply::Credit(_)), Err(Refusal::RequestInProgress)]), "{outcomes:?}");
    // A batch that cannot be written: a credit of a quota that does not cover it.
    let before = rows(&store).await;
    let broken = batch(vec![signed(6, of_install(6, one)), clash()], START);
    assert!(store.batch_commit(&broken).await.is_err());
    assert_eq!(rows(&store).await, before);
    assert_sound(&store).await;
}

/// A command that no store can write: an install whose periods begin on no day.
fn clash() -> Command {
    use tithe_engine::credits::InstallsImport;
    use tithe_ledger::credits::Install;
    let install = Install { anchor_day: 0, ..Install::new(install_id(99), START) };
    Command::InstallsImport(InstallsImport { installs: vec![install] })
}

/// From the next request on and for ever; what has begun may end.
pub async fn a_revoked_licence_is_not_served(store: FreshStore) {
    let licensed =
        |install| CreditRequest { plan: Plan::Pro, licence: Some(licence_id(7)), ..of_install(install, TEN) };
    let step = async |command| commit(store.as_ref(), vec![command], START).await.remove(0);
    assert!(matches!(step(begin_of(1, licensed(1))).await, Ok(Reply::Credit(_))));
    assert_eq!(store.licence_revocation(licence_id(7)).await.unwrap(), None);
    let revoke = |reason: &str| {
        Command::LicenceRevoke(LicenceRevoke { licence: licence_id(7), reason: reason.to_owned() })
    };
    let Ok(Reply::Revoked(revoked)) = step(revoke("charge-back")).await else { panic!() };
    assert_eq!(
        (revoked.licence, &*revoked.reason, revoked.revoked_at),
        (licence_id(7), "charge-back", START)
    );
    let again = commit(store.as_ref(), vec![revoke("again")], START + ASK_LEASE).await;
    assert_eq!(again, [Ok(Reply::Revoked(revoked.clone()))]);
    assert_eq!(store.licence_revocation(licence_id(7)).await.unwrap(), Some(revoked.clone()));
    assert_eq!(store.licence_revocation(licence_id(8)).await.unwrap(), None);
    assert_eq!(store.licences_revoked().await.unwrap(), [revoked]);
    let before = rows(&store).await;
    let refused = Err(Refusal::LicenceRevoked(licence_id(7)));
    assert_eq!(step(begin_of(2, licensed(1))).await, refused);
    assert_eq!(step(begin_of(3, licensed(2))).await, refused);
    assert_eq!(rows(&store).await, before);
    assert!(matches!(step(finish_of(1, PAYER, completed(10))).await, Ok(Reply::Answered(_))));
    assert!(matches!(step(begin_of(4, of_install(1, TEN))).await, Ok(Reply::Credit(_))));
    assert_sound(&store).await;
}

/// So many a day, unless they pay. What is refused counts nothing.
pub async fn an_origin_has_so_many_new_installs_a_day(store: FreshStore) {
    let from = |n| CreditRequest { origin: Some(("192.0.2.1".to_owned(), 2)), ..of_install(n, TEN) };
    let paid = |n| CreditRequest { plan: Plan::Pro, ..from(n) };
    let requests = vec![from(1), paid(2), from(3), from(4), paid(5), from(1), from(4), from(2)];
    let commands = (1..).zip(requests).map(|(n, request)| begin_of(n, request)).collect();
    let outcomes = commit(store.as_ref(), commands, START).await;
    let day = Duration::from_hours(24);
    let too_many = Refusal::NewInstalls(TooManyInstalls { most: 2, retry_after: day });
    for (n, outcome) in (1..).zip(outcomes) {
        match outcome {
            Ok(Reply::Credit(_)) => assert!(n != 4 && n != 7, "{n}"),
            other => assert!(n == 4 || n == 7 && other == Err(too_many.clone()), "{n}: {other:?}"),
        }
    }
    assert_eq!(store.install(install_id(4)).await.unwrap(), None);
    accepted(store.as_ref(), begin_of(9, from(4)), START + day).await;
    assert_sound(&store).await;
}
