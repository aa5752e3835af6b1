//! Installs, their credits, where new installs came from, and revoked licences: the rows.

use super::ledger::committer;
use super::servers::Servers;
use super::{FreshStore, assert_sound};
use crate::installs::{
    self, ASK_LEASE, ask_id, begin_of, completed, expire_of, finish_of, of_install, release_of,
};
use crate::scene::{START, commit};
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::asks::AskPayer;
use tithe_engine::audit::audit;
use tithe_engine::books::{Batch, Books, Command as EngineCommand, Refusal, RowKeys};
use tithe_engine::committer::CommitError;
use tithe_ledger::credits::{
    Backend, Counted, Counters, Credit, CreditError, CreditId, CreditMoved, CreditRefusal, CreditState,
    Install, InstallId, InstallOrigin, NewCredit, Plan, Quota,
};
use tithe_licences::{LicenceId, Revocation};
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// 10 requests altogether, of which 4 may go to the cloud.
const TEN: Quota = Quota { counted: Counted::Lifetime, requests: Some(10), cloud: Some(4) };

/// Writes rows as they are.
#[derive(Debug, Clone, Default)]
struct Write {
    origins: Vec<InstallOrigin>,
    installs: Vec<Install>,
    credits: Vec<Credit>,
    revocations: Vec<Revocation>,
}

impl Write {
    fn moved(CreditMoved { credit, install }: CreditMoved) -> Self {
        Self { installs: vec![install], credits: vec![credit], ..Self::default() }
    }
}

impl EngineCommand for Write {
    type Reply = ();
    const NAME: &'static str = "write";

    fn declare(&self, keys: &mut RowKeys) {
        keys.install_origins.extend(self.origins.iter().map(|row| row.name.clone()));
        keys.installs.extend(self.installs.iter().map(|row| row.id));
        keys.credits.extend(self.credits.iter().map(|row| row.id));
        keys.licence_revocations.extend(self.revocations.iter().map(|row| row.licence));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        self.origins.iter().try_for_each(|row| books.rows.install_origins.put(row.clone()))?;
        self.installs.iter().try_for_each(|row| books.rows.installs.put(row.clone()))?;
        self.credits.iter().try_for_each(|row| books.rows.credits.put(row.clone()))?;
        self.revocations.iter().try_for_each(|row| books.rows.licence_revocations.put(row.clone()))
    }
}

/// Counts a new install of an origin, and returns the origin as it was loaded.
#[derive(Debug, Clone)]
struct Admit(&'static str, Timestamp);

impl EngineCommand for Admit {
    type Reply = Option<InstallOrigin>;
    const NAME: &'static str = "admit";

    fn declare(&self, keys: &mut RowKeys) {
        keys.install_origins.insert(self.0.to_owned());
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Option<InstallOrigin>, Refusal> {
        let name = self.0.to_owned();
        let before = books.rows.install_origins.get(&name)?.cloned();
        let origin = before.clone().unwrap_or_else(|| InstallOrigin::new(name, self.1));
        books.rows.install_origins.put(origin.admit(100, self.1)?)?;
        Ok(before)
    }
}

/// Reserves a request of an install that may be new.
#[derive(Debug, Clone)]
struct Reserve(u128);

impl EngineCommand for Reserve {
    type Reply = Backend;
    const NAME: &'static str = "reserve";

    fn declare(&self, keys: &mut RowKeys) {
        keys.installs.insert(id(1));
        keys.credits.insert(CreditId(Uuid::from_u128(self.0)));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Backend, Refusal> {
        let install = books.rows.installs.get(&id(1))?.cloned();
        let install = install.unwrap_or_else(|| Install::new(id(1), START));
        let CreditMoved { credit, install } = new(self.0, TEN, true).reserve(&install, START)?;
        books.rows.installs.put(install)?;
        let backend = credit.backend;
        books.rows.credits.put(credit)?;
        Ok(backend)
    }
}

fn id(n: u128) -> InstallId {
    InstallId::new(Uuid::from_u128(n))
}

fn new(n: u128, quota: Quota, has_hardware: bool) -> NewCredit {
    NewCredit { id: CreditId(Uuid::from_u128(n)), plan: Plan::Max, quota, has_hardware, lease: LEASE }
}

async fn write(store: &FreshStore, rows: Write) {
    let outcomes = store.batch_commit(&Batch::new(vec![rows.into()], START)).await.unwrap().outcomes;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
}

/// Writes a step of a credit, and reads what was written.
async fn step(store: &FreshStore, moved: CreditMoved) -> CreditMoved {
    write(store, Write::moved(moved.clone())).await;
    let install = store.install(moved.install.id).await.unwrap().unwrap();
    let credit = store.credit(moved.credit.id).await.unwrap().unwrap();
    let read = CreditMoved { credit, install };
    assert_eq!(read, moved);
    assert_sound(store).await;
    read
}

/// In every state, with and without limits, and as they are changed.
pub async fn installs_and_credits_come_back_as_they_were_written(store: FreshStore) {
    assert_eq!(store.install(id(1)).await.unwrap(), None);
    assert_eq!(store.credit(CreditId(Uuid::from_u128(1))).await.unwrap(), None);
    // Counters that were imported: each has a value of its own, and so has each time.
    let imported = Install {
        id: id(1),
        plan: Plan::Pro,
        anchor_day: 31,
        period_start: START - HOUR * 3,
        lifetime: Counters { consumed: 5, cloud_consumed: 3, reserved: 0, cloud_reserved: 0 },
        monthly: Counters { consumed: 6, cloud_consumed: 2, reserved: 0, cloud_reserved: 0 },
        last_active_at: START - HOUR,
        created_at: START - HOUR * 9,
    };
    write(&store, Write { installs: vec![imported.clone()], ..Write::default() }).await;
    assert_eq!(store.install(id(1)).await.unwrap().as_ref(), Some(&imported));

    let lifetime = |requests, cloud| Quota { counted: Counted::Lifetime, requests, cloud };
    let monthly = |requests, cloud| Quota { counted: Counted::Monthly, requests, cloud };
    let cases = [
        (lifetime(Some(30), Some(9)), false),
        (lifetime(Some(30), Some(0)), true),
        (monthly(None, Some(9)), false),
        (monthly(Some(20), None), true),
        (monthly(None, None), false),
    ];
    let mut install = imported;
    for (n, (quota, has_hardware)) in (1..).zip(cases) {
        let held = step(&store, new(n * 10, quota, has_hardware).reserve(&install, START).unwrap()).await;
        let renewed = held.credit.renew(START, HOUR).unwrap();
        let held = step(&store, CreditMoved { credit: renewed, ..held }).await;
        let settled = step(&store, held.credit.commit(&held.install, START + HOUR).unwrap()).await;
        let next = new(n * 10 + 1, quota, has_hardware);
        let held = step(&store, next.reserve(&settled.install, START + LEASE).unwrap()).await;
        let released = step(&store, held.credit.release(&held.install, START + HOUR).unwrap()).await;
        let next = new(n * 10 + 2, quota, has_hardware);
        let held = step(&store, next.reserve(&released.install, START).unwrap()).await;
        let expired = step(&store, held.credit.expire(&held.install, START + LEASE).unwrap()).await;
        let late = step(&store, expired.credit.commit(&expired.install, START + HOUR).unwrap()).await;
        install = late.install;
    }
    let report = audit(store.as_ref()).await.unwrap();
    assert_eq!((report.installs, report.credits), (1, 15));
}

/// In pages.
pub async fn installs_are_listed_in_the_order_of_their_ids(store: FreshStore) {
    // Their texts differ in the first digit, which may be a letter.
    let ids: Vec<InstallId> = [0x1, 0x9, 0xa, 0xf].map(|digit: u128| id(digit << 124 | 7)).into();
    let installs = ids.iter().rev().map(|id| Install::new(*id, START));
    write(&store, Write { installs: installs.collect(), ..Write::default() }).await;
    let page = async |after, limit| -> Vec<InstallId> {
        store.installs(after, limit).await.unwrap().iter().map(|install| install.id).collect()
    };
    assert_eq!(page(None, 9).await, ids);
    assert_eq!(page(None, 2).await, ids[..2]);
    assert_eq!(page(Some(ids[1]), 9).await, ids[2..]);
    assert_eq!(page(Some(id(0x5 << 124)), 1).await, ids[1..2]);
    assert_eq!(page(Some(ids[3]), 9).await, []);
}

/// Longest overdue first, and nothing that has ended.
pub async fn overdue_credits_are_found(store: FreshStore) {
    let mut install = Install::new(id(1), START);
    for (n, at) in [(1, START + LEASE), (2, START), (3, START)] {
        let moved = new(n, TEN, true).reserve(&install, at).unwrap();
        install = moved.install.clone();
        let moved = if n == 3 { moved.credit.release(&install, START).unwrap() } else { moved };
        install = moved.install.clone();
        write(&store, Write::moved(moved)).await;
    }
    let overdue = async |now, limit| -> Vec<u128> {
        let credits = store.credits_overdue(now, limit).await.unwrap();
        credits.iter().map(|credit| credit.id.0.as_u128()).collect()
    };
    assert_eq!(overdue(START, 9).await, []);
    assert_eq!(overdue(START + LEASE, 9).await, [2]);
    assert_eq!(overdue(START + LEASE * 2, 9).await, [2, 1]);
    assert_eq!(overdue(START + LEASE * 2, 1).await, [2]);
}

/// Neither a credit of no install nor one beyond its quota can be written, and nothing of their batch is.
pub async fn credits_that_no_quota_covers_cannot_be_written(store: FreshStore) {
    let moved = new(1, TEN, false).reserve(&Install::new(id(1), START), START).unwrap();
    let orphan = Write { credits: vec![moved.credit.clone()], ..Write::default() };
    let beyond = CreditMoved { credit: Credit { used_after: 11, ..moved.credit.clone() }, ..moved.clone() };
    let cloud =
        CreditMoved { credit: Credit { cloud_used_after: 5, ..moved.credit.clone() }, ..moved.clone() };
    let neighbour = Write { installs: vec![Install::new(id(2), START)], ..Write::default() };
    for wrong in [orphan, Write::moved(beyond), Write::moved(cloud)] {
        let batch = Batch::new(vec![neighbour.clone().into(), wrong.clone().into()], START);
        assert!(store.batch_commit(&batch).await.is_err(), "{wrong:?}");
        assert_eq!(store.installs(None, 9).await.unwrap(), []);
        assert_eq!(store.credit(moved.credit.id).await.unwrap(), None);
    }
    step(&store, moved).await;
}

/// A few at a time, and not while they still limit anything.
pub async fn origins_are_deleted_when_their_day_is_over(store: FreshStore) {
    let server = committer(&store);
    for name in ["192.0.2.1", "192.0.2.2", "2001:db8::/56"] {
        assert_eq!(server.commit(Admit(name, START)).await.unwrap(), None);
    }
    let counted =
        |name: &str, since, installs| Some(InstallOrigin { name: name.to_owned(), since, installs });
    let late = "198.51.100.7";
    assert_eq!(server.commit(Admit(late, START + HOUR)).await.unwrap(), None);
    assert_eq!(server.commit(Admit(late, START + HOUR)).await.unwrap(), counted(late, START + HOUR, 1));
    let day = HOUR * 24;
    let purge = async |now, limit| store.install_origins_purge(now, limit).await.unwrap();
    assert_eq!(purge(START + day - Duration::from_micros(1), 9).await, 0);
    assert_eq!(purge(START + day, 2).await, 2);
    assert_eq!(purge(START + day, 2).await, 1);
    assert_eq!(purge(START + day, 2).await, 0);
    assert_eq!(server.commit(Admit("192.0.2.1", START)).await.unwrap(), None);
    assert_eq!(server.commit(Admit(late, START + HOUR)).await.unwrap(), counted(late, START + HOUR, 2));
    // One that has begun another day stays.
    assert_eq!(server.commit(Admit(late, START + day * 3)).await.unwrap(), counted(late, START + HOUR, 3));
    assert_eq!(purge(START + day * 3, 9).await, 1);
    assert_eq!(server.commit(Admit(late, START)).await.unwrap(), counted(late, START + day * 3, 1));
}

/// A few at a time, and not before their time. What runs, was done or was done late stays for ever.
pub async fn credits_that_took_nothing_are_deleted_and_all_others_stay(store: FreshStore) {
    let payer = AskPayer::Install(id(1));
    let step = async |command, at| commit(store.as_ref(), vec![command], at).await.remove(0).unwrap();
    for n in 1..=7 {
        step(begin_of(n, of_install(1, installs::TEN)), START).await;
    }
    let over = START + ASK_LEASE;
    step(finish_of(2, payer, completed(700)), START).await;
    step(release_of(3, payer, None), START).await;
    for n in [4, 5, 6] {
        step(expire_of(n, id(1)), over).await;
    }
    step(finish_of(5, payer, completed(500)), over).await;
    step(release_of(7, payer, None), START + HOUR).await;
    let all = async || {
        let mut all = Vec::new();
        for n in 1..=7 {
            all.push(store.credit(CreditId(ask_id(n))).await.unwrap());
        }
        all
    };
    let before = all().await;
    let states = before.iter().map(|credit| credit.as_ref().unwrap().state);
    let expired = CreditState::Expired { late: None };
    let settled = CreditState::Settled(());
    assert_eq!(
        states.collect::<Vec<_>>(),
        [
            CreditState::Held { lease: over },
            settled,
            CreditState::Released,
            expired,
            CreditState::Expired { late: Some(()) },
            expired,
            CreditState::Released,
        ]
    );
    let install = store.install(id(1)).await.unwrap();
    assert_sound(&store).await;

    let purge = async |before, limit| {
        let deleted = store.credits_purge(before, limit).await.unwrap();
        assert_sound(&store).await;
        deleted
    };
    assert_eq!(purge(START, 9).await, 0, "not before its time");
    assert_eq!(all().await, before);
    assert_eq!(purge(START + HOUR, 2).await, 2);
    assert_eq!(purge(START + HOUR, 2).await, 1);
    assert_eq!(purge(START + HOUR, 2).await, 0);
    let stays = |kept: &[usize]| -> Vec<Option<Credit>> {
        let kept_or_none =
            |(n, row): (usize, &Option<Credit>)| row.clone().filter(|_| kept.contains(&(n + 1)));
        before.iter().enumerate().map(kept_or_none).collect()
    };
    assert_eq!(all().await, stays(&[1, 2, 5, 7]));
    assert_eq!(purge(START + HOUR * 99, 9).await, 1);
    assert_eq!(purge(START + HOUR * 99, 9).await, 0);
    assert_eq!(all().await, stays(&[1, 2, 5]));
    assert_eq!(store.install(id(1)).await.unwrap(), install);

    // Whoever is that late finds nothing and takes nothing; what still runs ends as ever.
    let late = commit(store.as_ref(), vec![finish_of(4, payer, completed(900))], over).await.remove(0);
    assert!(matches!(late, Err(Refusal::NotFound { .. })), "{late:?}");
    assert_eq!(store.install(id(1)).await.unwrap(), install);
    step(finish_of(1, payer, completed(300)), over).await;
    assert_sound(&store).await;
    let report = audit(store.as_ref()).await.unwrap();
    assert_eq!((report.installs, report.credits), (1, 3));
}

/// And those of the same moment by their ids.
pub async fn revoked_licences_are_listed_newest_first(store: FreshStore) {
    assert_eq!(store.licences_revoked().await.unwrap(), []);
    let revoked = |n: u128, revoked_at| Revocation {
        licence: LicenceId(Uuid::from_u128(n << 124)),
        reason: format!("charge-back of payment {n}: ☃"),
        revoked_at,
    };
    let [first, second, third] = [revoked(5, START), revoked(0xc, START + HOUR), revoked(0x9, START + HOUR)];
    let revocations = vec![first.clone(), second.clone(), third.clone()];
    write(&store, Write { revocations, ..Write::default() }).await;
    assert_eq!(store.licences_revoked().await.unwrap(), [third, second, first]);
}

/// Invariant I9.
pub async fn counters_that_credits_do_not_explain_are_found(store: FreshStore) {
    let moved = new(1, TEN, false).reserve(&Install::new(id(1), START), START).unwrap();
    let mut install = moved.install.clone();
    install.lifetime.cloud_reserved = 0;
    write(&store, Write::moved(CreditMoved { install, ..moved.clone() })).await;
    let findings = audit(store.as_ref()).await.unwrap().findings;
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    let said = finding.to_string();
    assert!(said.starts_with(&format!("I9 install {}: ", id(1))), "{said}");
    write(&store, Write::moved(moved)).await;
    assert_sound(&store).await;
}

/// An install that two servers meet at once is made once, and 60 requests at once take what its quota covers: 4 in the cloud, 6 on
/// hardware.
pub async fn many_requests_of_one_install_never_pass_its_quota(servers: Servers) {
    let committers = servers.iter().map(committer).collect::<Vec<_>>();
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..60 {
        let server = committers[n % 2].clone();
        let reserve = Reserve(u128::try_from(n).unwrap());
        requests.spawn(async move { server.commit(reserve).await });
    }
    let (mut cloud, mut hardware, mut refused) = (0, 0, 0);
    for outcome in requests.join_all().await {
        match outcome {
            Ok(Backend::Cloud) => cloud += 1,
            Ok(Backend::Hardware) => hardware += 1,
            Err(CommitError::Refused(Refusal::Credit(CreditError::Refused(out)))) => {
                assert_eq!(out, CreditRefusal::OutOfCredits);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((cloud, hardware, refused), (4, 6, 50));
    let install = servers[0].install(id(1)).await.unwrap().unwrap();
    let reserved = Counters { reserved: 10, cloud_reserved: 4, ..Counters::default() };
    assert_eq!(install.lifetime, reserved);
    assert_sound(&servers[0]).await;
}
