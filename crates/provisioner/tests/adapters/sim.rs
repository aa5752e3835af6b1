//! The simulation.

use crate::{PASSWORD, id, order, order_with_key, ready};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tithe_bootstrap::{CreateError, Destroyed, Order, Progress, Provisioner};
use tithe_provisioner::{SimFault, SimOptions, SimProvisioner};

fn open(folder: &TempDir) -> SimProvisioner {
    SimProvisioner::open(folder.path(), SimOptions::default()).unwrap()
}

#[tokio::test]
async fn a_node_is_ready_at_once_and_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let sim = open(&folder);
    assert_eq!(sim.find(&order()).await.unwrap(), None);
    let made = ready(sim.create(&order()).await.unwrap());
    assert_eq!(made, format!("6f2c1d1e.sim.invalid password={PASSWORD} user=root"));
    assert_eq!(ready(sim.find(&order()).await.unwrap().unwrap()), made);
    assert_eq!(sim.nodes_made(id()).unwrap(), 1);

    let with_key = Order { id: "00000000-0000-4000-8000-000000000000".parse().unwrap(), ..order_with_key() };
    let made = ready(sim.create(&with_key).await.unwrap());
    assert_eq!(made, "00000000.sim.invalid sshKey=your own user=root");
}

#[tokio::test]
async fn another_server_finds_and_destroys_what_one_has_made() {
    let folder = tempfile::tempdir().unwrap();
    let made = open(&folder).create(&order()).await.unwrap();
    let other = open(&folder);
    assert_eq!(other.find(&order()).await.unwrap(), Some(made));
    assert!(other.node_exists(id()).unwrap());
    assert_eq!(other.destroy(&order()).await.unwrap(), Destroyed::Now);
    let third = open(&folder);
    assert_eq!(third.find(&order()).await.unwrap(), None);
    assert_eq!(third.destroy(&order()).await.unwrap(), Destroyed::NotFound);
    assert!(!third.node_exists(id()).unwrap());
    assert_eq!(third.nodes_made(id()).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_node_is_counted_whichever_server_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let servers: Vec<_> = (0..4).map(|_| Arc::new(open(&folder))).collect();
    let creates: Vec<_> = (0..20)
        .map(|number: usize| {
            let server = Arc::clone(&servers[number % 4]);
            tokio::spawn(async move { server.create(&order()).await.unwrap() })
        })
        .collect();
    for create in creates {
        create.await.unwrap();
    }
    assert_eq!(servers[0].nodes_made(id()).unwrap(), 20);
}

#[tokio::test]
async fn a_node_is_pending_for_as_many_lookups_as_set() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimProvisioner::open(folder.path(), SimOptions { pending_lookups: 2 }).unwrap();
    assert_eq!(sim.create(&order()).await.unwrap(), Progress::Pending);
    assert_eq!(sim.find(&order()).await.unwrap(), Some(Progress::Pending));
    // The count is in the folder, so another server goes on with it.
    let sim = open(&folder);
    assert_eq!(sim.find(&order()).await.unwrap(), Some(Progress::Pending));
    ready(sim.find(&order()).await.unwrap().unwrap());
}

#[tokio::test]
async fn creates_fail_as_queued_and_only_some_make_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let sim = open(&folder);
    let wait = Some(Duration::from_secs(5));
    for fault in [
        SimFault::Unavailable { retry_after: wait },
        SimFault::Refused,
        SimFault::Unknown { made: false },
        SimFault::Unknown { made: true },
    ] {
        sim.faults().queue(fault);
    }
    // This one is for the first node that is made.
    sim.faults().queue(SimFault::Pending { lookups: 1 });
    let unavailable = sim.create(&order()).await.unwrap_err();
    assert!(matches!(unavailable, CreateError::Unavailable { retry_after, .. } if retry_after == wait));
    assert!(matches!(sim.create(&order()).await, Err(CreateError::Refused { .. })));
    assert!(matches!(sim.create(&order()).await, Err(CreateError::Unknown { .. })));
    assert_eq!(sim.find(&order()).await.unwrap(), None);
    assert_eq!(sim.nodes_made(id()).unwrap(), 0);
    assert!(matches!(sim.create(&order()).await, Err(CreateError::Unknown { .. })));
    assert_eq!(sim.nodes_made(id()).unwrap(), 1);
    assert_eq!(sim.find(&order()).await.unwrap(), Some(Progress::Pending));
    ready(sim.find(&order()).await.unwrap().unwrap());
    ready(sim.create(&order()).await.unwrap());
    assert_eq!(sim.nodes_made(id()).unwrap(), 2);
}

#[tokio::test]
async fn nodes_can_fail_at_once_or_later() {
    let folder = tempfile::tempdir().unwrap();
    let sim = open(&folder);
    sim.faults().queue(SimFault::Failed { lookups: 0 });
    sim.faults().queue(SimFault::Failed { lookups: 1 });
    assert!(matches!(sim.create(&order()).await.unwrap(), Progress::Failed { .. }));
    assert_eq!(sim.create(&order()).await.unwrap(), Progress::Pending);
    assert_eq!(sim.find(&order()).await.unwrap(), Some(Progress::Pending));
    assert!(matches!(sim.find(&order()).await.unwrap(), Some(Progress::Failed { .. })));
}

#[tokio::test]
async fn lookups_fail_as_queued() {
    let folder = tempfile::tempdir().unwrap();
    let sim = open(&folder);
    sim.create(&order()).await.unwrap();
    sim.faults().queue(SimFault::FindFails);
    sim.faults().queue(SimFault::DestroyFails);
    sim.find(&order()).await.unwrap_err();
    sim.destroy(&order()).await.unwrap_err();
    ready(sim.find(&order()).await.unwrap().unwrap());
    assert_eq!(sim.destroy(&order()).await.unwrap(), Destroyed::Now);
}

#[tokio::test]
async fn no_password_is_stored_and_no_order_goes_without_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let sim = open(&folder);
    sim.create(&order()).await.unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        files += 1;
        assert!(!std::fs::read_to_string(file.unwrap().path()).unwrap().contains(PASSWORD));
    }
    assert_eq!(files, 2, "the record and the lock");
    let nobody = Order { root_password: None, ..order() };
    assert!(matches!(sim.create(&nobody).await, Err(CreateError::Refused { .. })));
}

#[tokio::test]
async fn a_damaged_record_may_be_that_of_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let sim = open(&folder);
    std::fs::write(folder.path().join(format!("{}.json", id())), "{").unwrap();
    assert!(matches!(sim.create(&order()).await, Err(CreateError::Unknown { .. })));
    assert!(sim.find(&order()).await.unwrap_err().reason.contains("damaged record"));
    assert!(sim.destroy(&order()).await.is_err());
    assert!(sim.nodes_made(id()).is_err());
}
