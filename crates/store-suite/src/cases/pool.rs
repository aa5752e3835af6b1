//! Two servers, one pool: what many want at once is given to as many as it covers, whoever asks where (invariant I5).

use super::assert_sound;
use super::servers::Servers;
use super::watch::{Limits, View, watched};
use crate::command::{Command, Reply};
use crate::people::{
    Dice, LEASE, account, budgets, charge, committer_under, fill, job_of, lapse, prove, pubkey, raise,
    release, reservation_id, reserve, settle,
};
use crate::scene::{START, accepted, fund, msats};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::{ManualClock, Timestamp};
use tithe_engine::books::Rules;
use tithe_engine::books::{Posting, Refusal};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::records::AuthNonceKind;
use tithe_free_tier::ReservationState;
use tithe_ledger::{AccountId, LedgerError, TransferKey, TransferKind};
use tithe_trust::Score;
use uuid::Uuid;

const ASKED: u32 = 200;
const PRICE: u64 = 5_000;

pub(super) fn committers(servers: &Servers, rules: &Rules, now: Timestamp) -> Vec<Committer> {
    let start = |store| committer_under(store, rules, Arc::new(ManualClock::at(now)));
    servers.iter().map(start).collect()
}

/// Sends every command to a server at random, all at once, and says what became of each.
pub(super) async fn all_at_once<K: Send + 'static>(
    committers: &[Committer],
    commands: impl IntoIterator<Item = (K, Command)>,
    dice: &mut Dice,
) -> Vec<(K, Result<Reply, CommitError>)> {
    let mut calls = tokio::task::JoinSet::new();
    for (key, command) in commands {
        let server = dice.pick(committers).clone();
        calls.spawn(async move { (key, server.commit(command).await) });
    }
    calls.join_all().await
}

/// The budget of established identities, and of the elite.
const ESTABLISHED: Limits = Limits { budget: 50_000, offered: None, now: START };
const ELITE: Limits = Limits { budget: 1_000_000, offered: None, now: START };

/// Sends 200 charges at once. Says how many the pool paid, how many the customer paid, and how many nobody could.
async fn charge_200(
    servers: &Servers,
    limits: Limits,
    round: u32,
    who: impl Fn(u32) -> u32,
) -> (u32, u32, u32) {
    let committers = committers(servers, &Rules::default(), START);
    let charges = (0..ASKED).map(|n| (n, charge((round * ASKED + n).into(), who(n), PRICE, PRICE)));
    let mut dice = Dice(round.into());
    let outcomes = watched(servers, limits, all_at_once(&committers, charges, &mut dice)).await;
    let (mut granted, mut paid, mut refused) = (0, 0, 0);
    for (n, outcome) in outcomes {
        match outcome {
            Ok(Reply::Charged { absorbed, charged, .. }) if absorbed == msats(PRICE) && charged.is_zero() => {
                granted += 1;
            }
            Ok(Reply::Charged { absorbed, charged, .. }) if charged == msats(PRICE) && absorbed.is_zero() => {
                paid += 1;
            }
            Err(CommitError::Refused(Refusal::Ledger(LedgerError::Insufficient { .. }))) => refused += 1,
            other => panic!("{n}: {other:?}"),
        }
    }
    (granted, paid, refused)
}

/// How often a race is run: it is lost at its first few batches, or not at all.
const ROUNDS: u32 = 4;

/// A day that covers 10 pieces of work and an account that covers 20: of 200 charges at once 10 are granted, 20 paid, and the
/// rest refused; and what was paid has earned its tithe and its trust.
pub async fn many_charges_of_one_identity_never_pass_its_day(servers: Servers) {
    let store = &servers[0];
    accepted(store.as_ref(), fund(AccountId::Pool, msats(1_000_000)), START).await;
    raise(store.as_ref(), 1..=ROUNDS, 11, START).await;
    for round in 1..=ROUNDS {
        accepted(store.as_ref(), fill(round, 20 * PRICE), START).await;
        assert_eq!(charge_200(&servers, ESTABLISHED, round, |_| round).await, (10, 20, 170));
        let view = View::of(store).await;
        let (granted, tithed) = (u64::from(round) * 10 * PRICE, u64::from(round) * 20 * PRICE / 10);
        assert_eq!((view.granted_by_ledger, view.pool), (granted, 1_000_000 - granted + tithed));
        let standing = &view.days[&pubkey(round)];
        assert_eq!(standing.window.absorbed, msats(10 * PRICE));
        assert_eq!((standing.trust.score, standing.trust.interactions), (Score::points(15), 1 + 30));
        assert_eq!(store.account(account(round)).await.unwrap().unwrap().balance(), msats(0));
    }
}

/// A pool that covers 10 pieces of work, and a little more that nobody can use: of 200 people's charges at once 10 are
/// granted.
pub async fn many_charges_of_many_identities_never_pass_the_pool(servers: Servers) {
    let store = &servers[0];
    accepted(store.as_ref(), fund(AccountId::Pool, msats(2_000)), START).await;
    raise(store.as_ref(), 0..ASKED, 250, START).await;
    for round in 1..=ROUNDS {
        let more = Command::Post(Posting {
            key: TransferKey::new(format!("more {round}")),
            debit: AccountId::Operator,
            credit: AccountId::Pool,
            amount: msats(10 * PRICE),
            kind: TransferKind::Adjustment,
            reference: Uuid::nil(),
        });
        accepted(store.as_ref(), more, START).await;
        assert_eq!(charge_200(&servers, ELITE, round, |n| n).await, (10, 0, 190));
        let view = View::of(store).await;
        assert_eq!((view.granted_by_ledger, view.pool), (u64::from(round) * 10 * PRICE, 2_000));
    }
}

/// 200 reservations at once where 10 can be; then everybody ends all of them, settled, released and lapsed, while new ones
/// are asked for.
async fn reserve_200_and_end_them(servers: &Servers, limits: Limits, who: fn(u32) -> u32) {
    let (rules, mut dice) = (Rules::default(), Dice(2));
    let now = committers(servers, &rules, START);
    let reservations = (0..ASKED).map(|n| (n, reserve(n.into(), who(n), PRICE)));
    let outcomes = watched(servers, limits, all_at_once(&now, reservations, &mut dice)).await;
    let mut made = Vec::new();
    for (n, outcome) in outcomes {
        match outcome {
            Ok(Reply::Reservation(reservation)) => {
                assert_eq!((reservation.id, reservation.amount), (reservation_id(n.into()), msats(PRICE)));
                made.push(n);
            }
            Err(CommitError::Refused(Refusal::NotFree(decision))) => assert!(decision.absorb.is_zero()),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(made.len(), 10);
    // Every one is ended four times over, when its lease has run out.
    let later = committers(servers, &rules, START + LEASE);
    let mut ends: Vec<(Option<u32>, Command)> = Vec::new();
    for n in &made {
        let (id, who) = (u128::from(*n), who(*n));
        ends.extend(
            [settle(id, who, PRICE / 2), release(id, who), lapse(id, who), settle(id, who, PRICE)]
                .map(|end| (Some(*n), end)),
        );
    }
    ends.extend((ASKED..ASKED + 60).map(|n| (None, reserve(n.into(), who(n), PRICE / 5))));
    // In any order.
    for at in (1..ends.len()).rev() {
        ends.swap(at, usize::try_from(dice.roll(u64::try_from(at).unwrap() + 1)).unwrap());
    }
    let named = ends.into_iter().map(|(n, command)| ((n, command.name()), command));
    let outcomes = watched(servers, limits, all_at_once(&later, named, &mut dice)).await;
    let mut ended: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for ((n, name), outcome) in outcomes {
        match (n, outcome) {
            (Some(n), Ok(Reply::Reservation(_) | Reply::Charged { .. })) => {
                ended.entry(n).or_default().push(name);
            }
            (Some(_), Err(CommitError::Refused(Refusal::FreeTier(_))))
            | (None, Ok(Reply::Reservation(_)) | Err(CommitError::Refused(Refusal::NotFree(_)))) => {}
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
    for n in made {
        let state = servers[1].reservation(reservation_id(n.into())).await.unwrap().unwrap().state;
        let mut by = ended.remove(&n).unwrap_or_default();
        by.sort_unstable();
        let as_told = match (by.as_slice(), state) {
            (["grant_settle"], ReservationState::Settled(absorbed)) => {
                absorbed == msats(PRICE) || absorbed == msats(PRICE / 2)
            }
            (["grant_release"], ReservationState::Released)
            | (["grant_expire"], ReservationState::Expired { late: None })
            // It lapsed first; then its work turned out to be done.
            | (["grant_expire", "grant_settle"], ReservationState::Expired { late: Some(_) }) => true,
            _ => false,
        };
        assert!(as_told, "{n} was ended by {by:?} and is {state:?}");
    }
}

/// A day that covers 10: no more are ever reserved and granted, and each reservation ends once, whoever ends it.
pub async fn many_reservations_of_one_identity_never_pass_its_day(servers: Servers) {
    accepted(servers[0].as_ref(), fund(AccountId::Pool, msats(1_000_000)), START).await;
    raise(servers[0].as_ref(), [1], 11, START).await;
    reserve_200_and_end_them(&servers, ESTABLISHED, |_| 1).await;
}

/// A pool that covers 10: the same.
pub async fn many_reservations_of_many_identities_never_pass_the_pool(servers: Servers) {
    accepted(servers[0].as_ref(), fund(AccountId::Pool, msats(10 * PRICE)), START).await;
    raise(servers[0].as_ref(), 0..ASKED + 60, 250, START).await;
    reserve_200_and_end_them(&servers, ELITE, |n| n).await;
}

/// A nonce, a signed request: used 64 times at once, for two people and on two servers, each counts once.
pub async fn a_auth_nonce_consumed_64_times_at_once_is_used_once(servers: Servers) {
    let committers = committers(&servers, &Rules::default(), START);
    let kinds = [AuthNonceKind::Login, AuthNonceKind::HttpAuth];
    for (proof, kind) in (0..12).zip(kinds.into_iter().cycle()) {
        let uses = (0..64).map(|n| (n % 2, prove(proof, kind, n % 2, START)));
        let outcomes = all_at_once(&committers, uses, &mut Dice(proof.into())).await;
        let mut won = Vec::new();
        for (who, outcome) in outcomes {
            match outcome {
                Ok(Reply::Identity(_) | Reply::Done) => won.push(who),
                Err(CommitError::Refused(Refusal::AuthNonceUsed)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(won.len(), 1, "{kind:?}");
    }
    assert_eq!(servers[0].auth_nonces_purge(START + Duration::from_hours(1), 100).await.unwrap(), 12);
}

/// Whatever two servers do first for a stranger, both of it is in the one row that they make.
pub async fn two_servers_meet_the_same_stranger_at_once(servers: Servers) {
    let generous = budgets(100, 100, 100, 100);
    let store = &servers[0];
    accepted(store.as_ref(), fund(AccountId::Pool, msats(10_000_000)), START).await;
    let committers = committers(&servers, &generous, START);
    for round in 0..40_u8 {
        let who = u32::from(round);
        let first = |kind, n: u8| match kind {
            0 => job_of(n, who, START),
            1 => prove(n, AuthNonceKind::Login, who, START),
            2 => charge(n.into(), who, 7_000, 7_000),
            _ => reserve(n.into(), who, 3_000),
        };
        let kinds = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3), (1, 1)];
        let (one, other) = kinds[usize::from(round) % kinds.len()];
        let (there, here) = (committers[0].clone(), committers[1].clone());
        let (a, b) = (first(one, round * 2), first(other, round * 2 + 1));
        let calls = (
            tokio::spawn(async move { there.commit(a).await }),
            tokio::spawn(async move { here.commit(b).await }),
        );
        for call in [calls.0.await, calls.1.await] {
            call.unwrap().unwrap();
        }
        let Some(standing) = servers[1].identity(pubkey(who)).await.unwrap() else {
            assert_eq!((one, other), (1, 1), "who has only logged in leaves no row");
            continue;
        };
        let times = |kind| u64::from(one == kind) + u64::from(other == kind);
        assert_eq!(standing.trust.interactions, times(2), "{one} and {other}");
        assert_eq!(standing.window.absorbed, msats(7_000 * times(2)), "{one} and {other}");
        assert_eq!(standing.window.reserved, msats(3_000 * times(3)), "{one} and {other}");
    }
    assert_sound(store).await;
}
