//! Installs of another system: all or none, and each once.

use super::servers::Servers;
use super::{FreshStore, assert_sound, rows};
use crate::command::{Command, Reply, batch};
use crate::installs::{TEN, begin_of, install_id, of_install};
use crate::people::committer_under;
use crate::scene::{START, accepted, commit};
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::ManualClock;
use tithe_engine::books::Rules;
use tithe_engine::credits::{Imported, InstallsImport};
use tithe_ledger::credits::{Counters, Install, Plan};

/// Install `n` of the other system, which has used some of its quotas.
fn foreign(n: u32) -> Install {
    let used = |consumed| Counters { consumed, cloud_consumed: consumed / 2, ..Counters::default() };
    Install {
        plan: Plan::Pro,
        anchor_day: u8::try_from(1 + n % 31).unwrap(),
        lifetime: used(u64::from(n % 50)),
        monthly: used(u64::from(n % 7)),
        ..Install::new(install_id(n.into()), START)
    }
}

fn import(installs: impl IntoIterator<Item = Install>) -> Command {
    Command::InstallsImport(InstallsImport { installs: installs.into_iter().collect() })
}

fn imported(added: usize, kept: usize) -> Reply {
    Reply::Imported(Imported { added, kept })
}

/// In one command; and nothing changes when it is imported again.
pub async fn ten_thousand_installs_are_imported_at_once_and_once(store: FreshStore) {
    // One of them has asked here before.
    accepted(store.as_ref(), begin_of(1, of_install(5, TEN)), START).await;
    let asked = store.install(install_id(5)).await.unwrap();
    let all = || import((0..10_000).map(foreign));
    assert_eq!(accepted(store.as_ref(), all(), START).await, imported(9_999, 1));
    assert_eq!(store.install(install_id(5)).await.unwrap(), asked);
    for n in [0, 4, 6, 30, 4_999, 9_999] {
        assert_eq!(store.install(install_id(n.into())).await.unwrap(), Some(foreign(n)), "{n}");
    }
    let before = rows(&store).await;
    assert_eq!(before.iter().filter(|row| format!("{row:?}").starts_with("Install(")).count(), 10_000);
    let later = START + Duration::from_hours(1);
    assert_eq!(commit(store.as_ref(), vec![all()], later).await, [Ok(imported(0, 10_000))]);
    assert_eq!(rows(&store).await, before);
    assert_sound(&store).await;
}

/// Nothing that the other system says is running runs here, and one that is named twice is one.
pub async fn imported_installs_have_nothing_reserved(store: FreshStore) {
    let mut install = foreign(9);
    (install.lifetime.reserved, install.monthly.cloud_reserved, install.monthly.reserved) = (3, 1, 2);
    let command = import([install, foreign(8), foreign(9)]);
    assert_eq!(accepted(store.as_ref(), command, START).await, imported(2, 1));
    assert_eq!(store.install(install_id(9)).await.unwrap(), Some(foreign(9)));
    assert_sound(&store).await;
}

/// One row that cannot be written, in the middle of them.
pub async fn an_import_that_cannot_be_written_leaves_nothing_behind(store: FreshStore) {
    let broken = Install { anchor_day: 0, ..foreign(300) };
    let installs = (0..300).map(foreign).chain([broken]).chain((301..600).map(foreign));
    let neighbour = begin_of(1, of_install(9_999, TEN));
    let commands = vec![neighbour, import(installs)];
    assert!(store.batch_commit(&batch(commands, START)).await.is_err());
    assert_eq!(rows(&store).await, []);
    assert_eq!(accepted(store.as_ref(), import((0..600).map(foreign)), START).await, imported(600, 0));
    assert_sound(&store).await;
}

/// Two servers, four files of which each overlaps with the next: every install is added by one of them.
pub async fn overlapping_imports_on_two_servers_add_every_install_once(servers: Servers) {
    let committers: Vec<_> = servers
        .iter()
        .map(|store| committer_under(store, &Rules::default(), Arc::new(ManualClock::at(START))))
        .collect();
    for round in 0..4 {
        let first = round * 1_000;
        let mut imports = tokio::task::JoinSet::new();
        for n in 0..4 {
            let server = committers[usize::try_from(n % 2).unwrap()].clone();
            // The second server goes through its files backwards.
            let mut installs: Vec<_> = (first + n * 100..first + n * 100 + 250).map(foreign).collect();
            if n % 2 == 1 {
                installs.reverse();
            }
            imports.spawn(async move { server.commit(import(installs)).await });
        }
        let (mut added, mut kept) = (0, 0);
        for outcome in imports.join_all().await {
            let Ok(Reply::Imported(imported)) = outcome else { panic!("{outcome:?}") };
            (added, kept) = (added + imported.added, kept + imported.kept);
        }
        assert_eq!((added, kept), (550, 450), "round {round}");
        let listed = servers[1].installs(None, 10_000).await.unwrap();
        let wanted: Vec<_> =
            (0..=round).flat_map(|round| round * 1_000..round * 1_000 + 550).map(foreign).collect();
        assert_eq!(listed, wanted, "round {round}");
    }
    assert_sound(&servers[0]).await;
}
