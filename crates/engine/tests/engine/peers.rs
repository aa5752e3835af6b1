//! Servers on one database compare themselves with each other.

use crate::scene::{Scene, Server};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::records::ServerRecord;
use tithe_engine::servers::{JoinError, Peer, Servers, SharedSettings};
use tithe_engine::store::ServerStore;
use tithe_trust::{Secret, Secrets};
use uuid::Uuid;

fn settings(production: bool, secret: &str, margin: &str) -> SharedSettings {
    let secrets = Secrets::new(Secret::new(format!("{secret:_<32}")).unwrap(), vec![]);
    SharedSettings::new(production).secrets("TITHE_TOKEN_SECRET", &secrets).plain("TITHE_MARGIN_PCT", margin)
}

async fn join(server: &Server, name: &str, settings: SharedSettings) -> Result<(), JoinError> {
    server.engine.servers.join(name, "0.1.0", settings).await
}

async fn peers(scene: &Scene, settings: &SharedSettings) -> Vec<(String, Vec<String>)> {
    let peers = Servers::peers(scene.store.as_ref(), settings, scene.clock.now()).await.unwrap();
    let told =
        |peer: Peer| (peer.record.name, peer.differences.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut told: Vec<_> = peers.into_iter().map(told).collect();
    // Their ids decide the order, which are random within a millisecond.
    told.sort();
    told
}

#[tokio::test(start_paused = true)]
async fn servers_tell_each_other_how_they_differ() {
    let scene = Scene::open().await;
    let (a, b) = (scene.server(), scene.server());
    join(&a, "a", settings(false, "same", "40")).await.unwrap();
    join(&b, "b", settings(false, "same", "50")).await.unwrap();
    let seen_by_b = peers(&scene, &settings(false, "same", "50")).await;
    let difference = r#"TITHE_MARGIN_PCT is "50" here and "40" there"#.to_owned();
    assert_eq!(seen_by_b, [("a".to_owned(), vec![difference]), ("b".to_owned(), vec![])]);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_work_beside_another_one_does_not_start_if_either_is_for_production() {
    for (first, second) in [(true, true), (true, false), (false, true)] {
        let scene = Scene::open().await;
        let (a, b) = (scene.server(), scene.server());
        join(&a, "a", settings(first, "one", "40")).await.unwrap();
        let refused = join(&b, "b", settings(second, "another", "40")).await.unwrap_err().to_string();
        assert!(refused.starts_with("cannot serve beside a, "), "{refused}");
        assert!(refused.contains("TITHE_TOKEN_SECRET: the servers have no secret in common"), "{refused}");
        // It has left nothing behind, and may start once the other has gone.
        assert_eq!(scene.store.servers().await.unwrap().len(), 1);
        scene.clock.advance(Duration::from_mins(1));
        join(&b, "b", settings(second, "another", "40")).await.unwrap();
        scene.finish().await;
    }
    // Play money: it is said, and nothing more.
    let scene = Scene::open().await;
    let (a, b) = (scene.server(), scene.server());
    join(&a, "a", settings(false, "one", "40")).await.unwrap();
    join(&b, "b", settings(false, "another", "40")).await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn another_price_keeps_no_server_from_starting() {
    let scene = Scene::open().await;
    let (a, b) = (scene.server(), scene.server());
    join(&a, "a", settings(true, "same", "40")).await.unwrap();
    join(&b, "b", settings(true, "same", "50")).await.unwrap();
    assert_eq!(scene.store.servers().await.unwrap().len(), 2);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_runs_writes_its_record_again_and_deletes_it_when_it_stops() {
    let scene = Scene::open().await;
    let mut server = scene.started();
    join(&server, "a", settings(true, "same", "40")).await.unwrap();
    let joined = scene.store.servers().await.unwrap();
    tokio::time::sleep(Duration::from_mins(5)).await;
    let later = scene.store.servers().await.unwrap();
    assert_eq!(later.len(), 1);
    assert_eq!(later[0].started_at, joined[0].started_at);
    assert!(later[0].seen_at > joined[0].seen_at + Duration::from_mins(4), "{later:?}");
    server.stop(Duration::from_secs(1)).await;
    assert_eq!(scene.store.servers().await.unwrap(), []);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_died_counts_for_a_minute_and_is_forgotten_after_a_day() {
    let scene = Scene::open().await;
    let dead = scene.server();
    join(&dead, "dead", settings(true, "one", "40")).await.unwrap();
    let here = settings(true, "one", "40");
    scene.clock.advance(Duration::from_secs(59));
    assert_eq!(peers(&scene, &here).await.len(), 1);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(peers(&scene, &here).await, []);
    let server = scene.started();
    join(&server, "alive", here).await.unwrap();
    assert_eq!(scene.store.servers().await.unwrap().len(), 2);
    scene.clock.advance(Duration::from_hours(24));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let left: Vec<String> = scene.store.servers().await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(left, ["alive"]);
    drop(server);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_version_keeps_nobody_from_starting() {
    let scene = Scene::open().await;
    let now = scene.clock.now();
    let other = ServerRecord {
        id: Uuid::from_u128(1),
        name: "newer".to_owned(),
        version: "9.0.0".to_owned(),
        settings: r#"{"anything": "else"}"#.to_owned(),
        started_at: now,
        seen_at: now,
    };
    scene.store.server_write(&other).await.unwrap();
    let server = scene.server();
    join(&server, "a", settings(true, "same", "40")).await.unwrap();
    scene.finish().await;
}
