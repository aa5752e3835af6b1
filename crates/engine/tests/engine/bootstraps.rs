//! Nodes that are bought: every outcome of the provisioner, and a death at every step.

use crate::scene::{BoughtNode, Op, Scene, Server, When, eventually};
use std::sync::Arc;
use std::time::Duration;
use tithe_bootstrap::{Bootstrap, BootstrapId, BootstrapRepository, StateName};
use tithe_engine::{EngineError, InvalidCredential};
use tithe_lightning::TestPayer;
use tithe_provisioner::SimFault;

async fn stored(scene: &Scene, id: BootstrapId) -> Bootstrap {
    scene.store.bootstrap(id).await.unwrap().unwrap()
}

/// A scene whose servers give up on nodes soon.
async fn hasty() -> Scene {
    let mut scene = Scene::open().await;
    scene.settings.provision_timeout = Duration::from_mins(3);
    scene.settings.provision_doubt = Duration::from_secs(80);
    // There are no jobs to claim for hours.
    scene.settings.claim_interval = Duration::from_mins(5);
    scene
}

/// Waits until the bootstrap is as wanted. It may take a while: it is looked at once a second.
async fn until(scene: &Scene, id: BootstrapId, wanted: impl Fn(&Bootstrap) -> bool) -> Bootstrap {
    let looking = async {
        loop {
            let bootstrap = stored(scene, id).await;
            if wanted(&bootstrap) {
                return bootstrap;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_hours(3), looking).await.unwrap()
}

/// Waits until nothing is to be done any more.
async fn ended(scene: &Scene, id: BootstrapId) -> Bootstrap {
    until(scene, id, |bootstrap| bootstrap.has_ended() && !bootstrap.is_open()).await
}

/// Buys a node and pays for it, beginning again when the server dies.
async fn buy(scene: &Scene, server: Arc<Server>) -> BoughtNode {
    let buying = tokio::spawn(async move { server.buy_node("k").await.unwrap() });
    let node = buying.await.unwrap();
    let invoice = scene.invoice(node.invoice).await;
    // What was paid before is not paid again.
    let _paid_before = scene.wallet.pay(&invoice.payment_request.parse().unwrap()).await;
    node
}

/// Either there is one node and it is paid for, or there is none and everything is refunded.
fn assert_one_or_refunded(scene: &Scene, bootstrap: &Bootstrap, context: &str) {
    let (made, exists) = (
        scene.provisioner.nodes_made(bootstrap.id).unwrap(),
        scene.provisioner.node_exists(bootstrap.id).unwrap(),
    );
    assert!(made <= 1, "{context}: {made} nodes");
    let refund = match bootstrap.state_name() {
        StateName::Ready => 0,
        StateName::Failed => bootstrap.amount.get(),
        other => panic!("{context}: {other}"),
    };
    assert_eq!(bootstrap.refund.get(), refund, "{context}");
    assert_eq!(exists, bootstrap.state_name() == StateName::Ready, "{context}: a node that nobody pays for");
}

#[tokio::test(start_paused = true)]
async fn every_outcome_of_the_provisioner_is_one_node_or_a_refund() {
    let never = SimFault::Pending { lookups: u32::MAX };
    let cases: &[(&[SimFault], StateName, u32)] = &[
        (&[], StateName::Ready, 1),
        (&[SimFault::Pending { lookups: 3 }], StateName::Ready, 1),
        (&[SimFault::Unavailable { retry_after: None }], StateName::Ready, 1),
        (&[SimFault::Unavailable { retry_after: Some(Duration::from_mins(2)) }], StateName::Ready, 1),
        (&[SimFault::Unavailable { retry_after: Some(Duration::from_hours(9)) }; 9], StateName::Failed, 0),
        (&[SimFault::Refused], StateName::Failed, 0),
        (&[SimFault::Unknown { made: true }], StateName::Ready, 1),
        (&[SimFault::Unknown { made: false }], StateName::Failed, 0),
        (&[SimFault::Failed { lookups: 0 }], StateName::Failed, 1),
        (&[SimFault::Failed { lookups: 2 }], StateName::Failed, 1),
        (&[SimFault::Failed { lookups: 0 }, SimFault::DestroyFails], StateName::Failed, 1),
        (&[never], StateName::Failed, 1),
        (&[SimFault::Pending { lookups: 1 }, SimFault::FindFails, SimFault::FindFails], StateName::Ready, 1),
    ];
    for (faults, wanted, made) in cases {
        let scene = hasty().await;
        let server = Arc::new(scene.started());
        for fault in *faults {
            scene.provisioner.faults().queue(*fault);
        }
        let node = buy(&scene, server.clone()).await;
        let bootstrap = ended(&scene, node.id).await;
        assert_eq!(bootstrap.state_name(), *wanted, "{faults:?}");
        assert_eq!(scene.provisioner.nodes_made(node.id).unwrap(), *made, "{faults:?}");
        assert_one_or_refunded(&scene, &bootstrap, &format!("{faults:?}"));
        assert_eq!(bootstrap.sealed.is_some(), *wanted == StateName::Ready, "{faults:?}");
        scene.finish().await;
    }
}

async fn dies_at(op: Op, nth: u32, when: When, faults: &[SimFault]) -> StateName {
    let scene = hasty().await;
    let point = format!("{when:?} {op:?} {nth}");
    let mut first = scene.server_elsewhere().await;
    for fault in faults {
        scene.provisioner.faults().queue(*fault);
    }
    first.power.cut_at(op, nth, when);
    first.start();
    let first = Arc::new(first);
    tokio::select! {
        () = async { buy(&scene, first.clone()).await; first.power.goes_off().await } => {}
        () = first.power.goes_off() => {}
        () = tokio::time::sleep(Duration::from_hours(2)) => panic!("never came to {point}"),
    }
    let second = Arc::new(scene.started());
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    let bought = tokio::time::timeout(Duration::from_hours(2), async {
        let node = buy(&scene, second.clone()).await;
        let bootstrap = ended(&scene, node.id).await;
        (node, bootstrap)
    });
    let (node, bootstrap) = bought.await.unwrap_or_else(|_| panic!("stuck after {point}"));
    assert_one_or_refunded(&scene, &bootstrap, &point);
    let transfers = scene.transfers().await;
    // The dead server is alive after all. (One that stops between its last look at the time and the call of the provisioner, and
    // for longer than a node is looked for, cannot be caught.)
    if (op, when) != (Op::NodeCreate, When::Before) {
        first.power.mend();
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(stored(&scene, node.id).await, bootstrap, "{point}");
    assert_eq!(scene.transfers().await, transfers, "{point}");
    assert_one_or_refunded(&scene, &bootstrap, &point);
    scene.finish().await;
    bootstrap.state_name()
}

#[tokio::test(start_paused = true)]
async fn a_death_around_any_step_of_provisioning_never_makes_two_nodes() {
    // The commits: created, invoiced, paid, claimed, begun, ready.
    for nth in 1..=6 {
        for when in [When::Before, When::After] {
            dies_at(Op::Commit, nth, when, &[]).await;
        }
    }
    for when in [When::Before, When::After] {
        dies_at(Op::Mint, 1, when, &[]).await;
        dies_at(Op::NodeFind, 1, when, &[SimFault::Pending { lookups: 2 }]).await;
        dies_at(Op::NodeFind, 2, when, &[SimFault::Pending { lookups: 2 }]).await;
        dies_at(Op::NodeFind, 1, when, &[SimFault::Unknown { made: true }]).await;
        for faults in [&[SimFault::Failed { lookups: 0 }][..], &[SimFault::Unknown { made: false }]] {
            dies_at(Op::NodeDestroy, 1, when, faults).await;
        }
    }
    // Creation has begun, and whether it took place is not known to the next server: it looks.
    assert_eq!(dies_at(Op::NodeCreate, 1, When::Before, &[]).await, StateName::Failed);
    assert_eq!(dies_at(Op::NodeCreate, 1, When::After, &[]).await, StateName::Ready);
    let after_unavailable = [SimFault::Unavailable { retry_after: None }];
    assert_eq!(dies_at(Op::NodeCreate, 2, When::After, &after_unavailable).await, StateName::Ready);
}

/// The node of a server that was slow, and not dead, appears after its customer was refunded: it is destroyed.
#[tokio::test(start_paused = true)]
async fn a_node_that_appears_after_the_refund_is_destroyed() {
    let mut scene = Scene::open().await;
    // It is looked for as long as a slow request could take.
    scene.settings.provision_timeout = Duration::from_mins(2);
    scene.settings.provision_doubt = Duration::from_hours(1);
    let mut first = scene.server_elsewhere().await;
    first.power.cut_at(Op::NodeCreate, 1, When::Before);
    first.start();
    let first = Arc::new(first);
    let node = buy(&scene, first.clone()).await;
    first.power.goes_off().await;
    scene.clock.advance(scene.settings.lease + Duration::from_secs(1));
    let _second = scene.started();
    let refunded = until(&scene, node.id, Bootstrap::has_ended).await;
    assert_eq!((refunded.state_name(), refunded.is_open()), (StateName::Failed, true));
    first.power.mend();
    eventually("the node is made all the same", async || {
        (scene.provisioner.nodes_made(node.id).unwrap() == 1).then_some(())
    })
    .await;
    let bootstrap = ended(&scene, node.id).await;
    assert_one_or_refunded(&scene, &bootstrap, "late");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn two_servers_make_one_node_for_each_payment() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.started()), Arc::new(scene.started())];
    let mut nodes = Vec::new();
    for n in 0..12 {
        scene.provisioner.faults().queue(SimFault::Pending { lookups: n % 3 });
        let node = servers[usize::try_from(n).unwrap() % 2].buy_node(&n.to_string()).await.unwrap();
        scene.pay(node.invoice).await;
        nodes.push(node);
    }
    for node in &nodes {
        let bootstrap = ended(&scene, node.id).await;
        assert_eq!(bootstrap.state_name(), StateName::Ready);
        assert_one_or_refunded(&scene, &bootstrap, "two servers");
    }
    let report = servers[0].engine.audit().await.unwrap();
    assert_eq!((report.bootstraps, report.bootstraps_msats), (12, 0));
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn credentials_are_shown_once_to_the_claim_token_only() {
    let scene = Scene::open().await;
    let servers = [Arc::new(scene.started()), Arc::new(scene.started())];
    let node = buy(&scene, servers[0].clone()).await;
    let other = servers[0].buy_node("other").await.unwrap();
    ended(&scene, node.id).await;
    let view = async |server: usize, token: Option<&str>, deliver| {
        servers[server].engine.bootstraps.view(node.id, token, deliver).await
    };
    assert_eq!(view(0, None, true).await.unwrap().node, None);
    for wrong in ["", "v1.", "v1.AAAA", other.claim_token.as_str()] {
        let refused = view(0, Some(wrong), true).await;
        assert!(
            matches!(refused, Err(EngineError::InvalidIdentity(InvalidCredential::ClaimToken))),
            "{refused:?}"
        );
    }
    let token = Some(node.claim_token.as_str());
    let peeked = view(0, token, false).await.unwrap().node.unwrap();
    assert_eq!(peeked.credentials, None, "a HEAD request delivers nothing");
    let views = (0..16).map(|n| view(n % 2, token, true));
    let views = futures_util::future::join_all(views).await;
    let nodes: Vec<_> = views.into_iter().map(|view| view.unwrap().node.unwrap()).collect();
    let delivered: Vec<_> = nodes.iter().filter_map(|node| node.credentials.as_ref()).collect();
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].0.keys().collect::<Vec<_>>(), ["password", "user"]);
    assert!(nodes.iter().all(|node| node.host == nodes[0].host));
    assert_eq!(stored(&scene, node.id).await.sealed, None, "nothing of them is stored any more");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_provisioner_that_refuses_is_not_sold_for_a_while() {
    let scene = Scene::open().await;
    let server = Arc::new(scene.started());
    scene.provisioner.faults().queue(SimFault::Refused);
    let node = buy(&scene, server.clone()).await;
    ended(&scene, node.id).await;
    assert!(matches!(server.buy_node("next").await, Err(EngineError::NoProvisioner)));
    tokio::time::sleep(Duration::from_mins(1)).await;
    server.buy_node("next").await.unwrap();
    scene.finish().await;
}
