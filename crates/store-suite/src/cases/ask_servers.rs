//! Two servers, one install: however many requests come at once, its plan serves as many as it includes (invariant I9).

use super::keys::request;
use super::pool::{all_at_once, committers};
use super::servers::Servers;
use super::watch::watched_install;
use super::{FreshStore, assert_sound};
use crate::command::{Command, Reply};
use crate::installs::{
    ASK_LEASE, TEN, ask_id, begin_keyed, begin_of, completed, expire_of, finish_keyed, finish_of, install_id,
    of_install, release_of,
};
use crate::people::Dice;
use crate::scene::START;
use std::time::Duration;
use tithe_engine::asks::{AskPayer, NewAskPayer};
use tithe_engine::books::{Refusal, Rules};
use tithe_engine::committer::{CommitError, Committer};
use tithe_engine::credits::CreditRequest;
use tithe_ledger::credits::{
    Backend, Counters, CreditError, CreditId, CreditRefusal, CreditState, InstallId, Quota, TooManyInstalls,
};

const INSTALL: InstallId = install_id(1);
const PAYER: AskPayer = AskPayer::Install(INSTALL);

/// How a request of a case ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Served(Backend),
    GivenBack,
    Refused,
}

fn done(n: u128, cost: u64) -> Command {
    finish_of(n, PAYER, completed(cost))
}

/// Begins a request and ends it, each on its server.
async fn ask(
    begin_on: &Committer,
    end_on: &Committer,
    n: u128,
    request: CreditRequest,
    ends: Command,
) -> Ended {
    match begin_on.commit(begin_of(n, request)).await {
        Ok(Reply::Credit(credit)) => match end_on.commit(ends).await {
            Ok(Reply::Answered(_)) => Ended::Served(credit.backend),
            Ok(Reply::Done) => Ended::GivenBack,
            other => panic!("{n}: {other:?}"),
        },
        Err(CommitError::Refused(Refusal::Credit(CreditError::Refused(CreditRefusal::OutOfCredits)))) => {
            Ended::Refused
        }
        other => panic!("{n}: {other:?}"),
    }
}

/// 100 requests at once, of which every second one begins on the other server and ends there.
async fn ask_100(servers: &Servers, quota: Quota, ends: fn(u128) -> Command) -> Vec<Ended> {
    let committers = committers(servers, &Rules::default(), START);
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..100 {
        let [one, other] = [0, 1].map(|server| committers[usize::try_from(n + server).unwrap() % 2].clone());
        asked.spawn(async move { ask(&one, &other, n, of_install(1, quota), ends(n)).await });
    }
    watched_install(servers, INSTALL, quota, asked.join_all()).await
}

fn count(ended: &[Ended], how: Ended) -> usize {
    ended.iter().filter(|ended| **ended == how).count()
}

async fn counters(store: &FreshStore) -> Counters {
    store.install(INSTALL).await.unwrap().unwrap().lifetime
}

/// With 10 left, exactly 10 are served, of which as many in the cloud as its cap allows; at no instant was more used.
pub async fn a_hundred_requests_at_once_of_an_install_with_ten_left_are_served_ten_times(servers: Servers) {
    let ended = ask_100(&servers, TEN, |n| done(n, 100)).await;
    let (cloud, hardware) = (Ended::Served(Backend::Cloud), Ended::Served(Backend::Hardware));
    assert_eq!((count(&ended, cloud), count(&ended, hardware), count(&ended, Ended::Refused)), (4, 6, 90));
    let expected = Counters { consumed: 10, cloud_consumed: 4, ..Counters::default() };
    assert_eq!(counters(&servers[1]).await, expected);
}

/// Two of three fail, and give back what they had reserved: what was served and what was given back fits, and whoever comes after
/// them gets what is left, to the last.
pub async fn a_request_that_fails_gives_its_credit_back_while_others_want_it(servers: Servers) {
    let ended =
        ask_100(&servers, TEN, |n| if n % 3 == 0 { done(n, 100) } else { release_of(n, PAYER, None) }).await;
    let [cloud, hardware] =
        [Backend::Cloud, Backend::Hardware].map(|backend| count(&ended, Ended::Served(backend)));
    assert!(count(&ended, Ended::GivenBack) > 0, "{ended:?}");
    let served = u64::try_from(cloud + hardware).unwrap();
    let used =
        Counters { consumed: served, cloud_consumed: u64::try_from(cloud).unwrap(), ..Counters::default() };
    assert_eq!(counters(&servers[0]).await, used);
    let committers = committers(&servers, &Rules::default(), START);
    for n in 0..10 - served {
        let [one, other] = &committers[..] else { panic!() };
        let ended =
            ask(one, other, 1_000 + u128::from(n), of_install(1, TEN), done(1_000 + u128::from(n), 1)).await;
        assert!(matches!(ended, Ended::Served(_)), "{n}: {ended:?}");
    }
    let last = ask(&committers[0], &committers[1], 2_000, of_install(1, TEN), done(2_000, 1)).await;
    assert_eq!(last, Ended::Refused);
    assert_eq!(counters(&servers[1]).await.consumed, 10);
    assert_sound(&servers[1]).await;
}

/// A server reserves 10 and dies; when their leases have run out, both servers give them back at once, while the dead one turns out to
/// be alive and finishes them, and others want them: each ends once, or once more because its work was done, and there is room.
pub async fn what_a_dead_server_has_reserved_is_given_back_once(servers: Servers) {
    {
        let mut dead = committers(&servers, &Rules::default(), START);
        let dead = dead.remove(0);
        for n in 0..10 {
            assert!(
                matches!(dead.commit(begin_of(n, of_install(1, TEN))).await, Ok(Reply::Credit(_))),
                "{n}"
            );
        }
        let out = dead.commit(begin_of(10, of_install(1, TEN))).await;
        assert!(matches!(out, Err(CommitError::Refused(Refusal::Credit(_)))), "{out:?}");
    }
    // Not before.
    let early = committers(&servers, &Rules::default(), START + ASK_LEASE - Duration::from_micros(1));
    let live = early[1].commit(expire_of(0, INSTALL)).await;
    let Err(CommitError::Refused(Refusal::Credit(CreditError::Live(_)))) = live else { panic!("{live:?}") };
    let later = committers(&servers, &Rules::default(), START + ASK_LEASE);
    let overdue = servers[1].credits_overdue(START + ASK_LEASE, 100).await.unwrap();
    assert_eq!(overdue.len(), 10);
    let mut commands = Vec::new();
    for n in 0..10 {
        commands.extend([0; 4].map(|_| (("expire", n), expire_of(n, INSTALL))));
        commands.push((("finish", n), finish_of(n, PAYER, completed(100))));
        commands.push((("begin", n), begin_of(100 + n, of_install(1, TEN))));
    }
    let mut dice = Dice(11);
    for at in (1..commands.len()).rev() {
        commands.swap(at, usize::try_from(dice.roll(u64::try_from(at).unwrap() + 1)).unwrap());
    }
    let outcomes = watched_install(&servers, INSTALL, TEN, all_at_once(&later, commands, &mut dice)).await;
    let (mut expired, mut finished, mut begun) = ([0; 10], [0; 10], 0);
    for ((what, n), outcome) in outcomes {
        let at = usize::try_from(n).unwrap();
        match (what, outcome) {
            ("expire", Ok(_)) => expired[at] += 1,
            ("finish", Ok(Reply::Answered(_))) => finished[at] += 1,
            ("begin", Ok(Reply::Credit(_))) => begun += 1,
            (_, Err(CommitError::Refused(Refusal::Credit(_)))) => {}
            (_, other) => panic!("{what} {n}: {other:?}"),
        }
    }
    for n in 0..10 {
        let state = servers[0].credit(CreditId(ask_id(n))).await.unwrap().unwrap().state;
        let at = usize::try_from(n).unwrap();
        let by = match state {
            CreditState::Settled(()) => (0, 1),
            CreditState::Expired { late: None } => (1, 0),
            CreditState::Expired { late: Some(()) } => (1, 1),
            other => panic!("{n}: {other:?}"),
        };
        assert_eq!((expired[at], finished[at]), by, "{n}");
    }
    let consumed = finished.iter().sum();
    let used = counters(&servers[1]).await;
    assert_eq!((used.consumed, used.reserved), (consumed, begun));
    assert!(consumed + begun <= 10, "{used:?}");
    assert_eq!(servers[0].credits_overdue(START + ASK_LEASE, 100).await.unwrap(), []);
}

/// A request that is repeated 32 times under its key while the first one may be dead: one credit is taken, and all who are answered
/// are answered the same.
pub async fn a_request_repeated_under_its_key_takes_one_credit(servers: Servers) {
    let key = request("an install", 1);
    let committers = committers(&servers, &Rules::default(), START);
    let mut dice = Dice(5);
    let begins = (0..32).map(|n| (n, begin_keyed(n, NewAskPayer::Install(of_install(1, TEN)), &key)));
    let mut won = Vec::new();
    for (n, outcome) in all_at_once(&committers, begins, &mut dice).await {
        match outcome {
            Ok(Reply::Credit(_)) => won.push(n),
            Err(CommitError::Refused(Refusal::RequestInProgress)) => {}
            other => panic!("{n}: {other:?}"),
        }
    }
    let [first] = won[..] else { panic!("{won:?}") };
    // It seems to be dead; one of those that come takes the key over. All of them end at once.
    let later = super::pool::committers(&servers, &Rules::default(), START + ASK_LEASE * 2);
    let begins = (100..132).map(|n| (n, begin_keyed(n, NewAskPayer::Install(of_install(1, TEN)), &key)));
    let begun = all_at_once(&later, begins, &mut dice).await;
    let second: Vec<u128> = begun.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| *n).collect();
    let [second] = second[..] else { panic!("{begun:?}") };
    let ends: Vec<(u128, Command)> = (0..16)
        .flat_map(|_| [first, second])
        .map(|n| (n, finish_keyed(n, PAYER, completed(100), &key)))
        .collect();
    let mut answered = 0;
    for (n, outcome) in all_at_once(&later, ends, &mut dice).await {
        match outcome {
            Ok(Reply::Answered(_)) => {
                assert_eq!(n, second);
                answered += 1;
            }
            Ok(Reply::GivenBack) => assert_eq!(n, first),
            Err(CommitError::Refused(Refusal::Credit(CreditError::Ended { .. }))) => assert_eq!(n, second),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(answered, 1);
    let expected = Counters { consumed: 1, cloud_consumed: 1, ..Counters::default() };
    assert_eq!(counters(&servers[0]).await, expected);
    let again = begin_keyed(900, NewAskPayer::Install(of_install(1, TEN)), &key);
    let Ok(Reply::Replayed(response)) = later[0].commit(again).await else { panic!() };
    assert!(response.body.starts_with(&ask_id(second).to_string()), "{response:?}");
    assert_sound(&servers[0]).await;
}

/// 60 new installs of one address at once, on two servers, and each asks twice: as many are made as may come in a day.
pub async fn new_installs_of_an_origin_are_counted_exactly(servers: Servers) {
    let committers = committers(&servers, &Rules::default(), START);
    let from = |n| CreditRequest { origin: Some(("2001:db8::/56".to_owned(), 20)), ..of_install(n, TEN) };
    let begins = (0..120).map(|n| (n, begin_of(n, from(n % 60))));
    let (mut served, mut refused) = (0, 0);
    for (n, outcome) in all_at_once(&committers, begins, &mut Dice(3)).await {
        match outcome {
            Ok(Reply::Credit(_)) => served += 1,
            Err(CommitError::Refused(Refusal::NewInstalls(TooManyInstalls { most: 20, .. }))) => refused += 1,
            other => panic!("{n}: {other:?}"),
        }
    }
    let installs = servers[1].installs(None, 100).await.unwrap();
    assert_eq!(installs.len(), 20);
    let reserved: u64 = installs.iter().map(|install| install.lifetime.reserved).sum();
    assert_eq!((reserved, served + refused), (served, 120));
    assert_sound(&servers[0]).await;
}
