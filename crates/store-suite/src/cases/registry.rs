//! The servers that run on the database.

use super::FreshStore;
use crate::scene::START;
use std::time::Duration;
use tithe_engine::records::ServerRecord;
use uuid::Uuid;

fn server(n: u128, started: u64, seen: u64) -> ServerRecord {
    ServerRecord {
        id: Uuid::from_u128(n),
        name: format!("machine{n} 127.0.0.1:{n}"),
        version: "0.1.0".to_owned(),
        settings: r#"{"TITHE_WALLET":{"plain":"ümlaut"}}"#.to_owned(),
        started_at: START + Duration::from_secs(started),
        seen_at: START + Duration::from_secs(seen),
    }
}

/// A server is told of the others as they have written it, in the order in which they started.
pub async fn servers_come_back_as_they_were_written(store: FreshStore) {
    assert_eq!(store.servers().await.unwrap(), []);
    let (late, early, twin) = (server(1, 9, 9), server(3, 5, 9), server(2, 5, 8));
    for server in [&late, &early, &twin] {
        store.server_write(server).await.unwrap();
    }
    assert_eq!(store.servers().await.unwrap(), [twin, early.clone(), late.clone()]);
    store.server_delete(Uuid::from_u128(2)).await.unwrap();
    store.server_delete(Uuid::from_u128(2)).await.unwrap();
    assert_eq!(store.servers().await.unwrap(), [early, late]);
}

/// A server that writes its record again replaces it.
pub async fn a_server_has_one_record(store: FreshStore) {
    store.server_write(&server(1, 0, 0)).await.unwrap();
    let again = ServerRecord { name: "another".to_owned(), settings: "{}".to_owned(), ..server(1, 0, 60) };
    store.server_write(&again).await.unwrap();
    assert_eq!(store.servers().await.unwrap(), [again]);
}

/// The records of servers that have died are deleted, and those of others stay.
pub async fn old_records_of_servers_are_deleted(store: FreshStore) {
    for (n, seen) in [(1, 10), (2, 20), (3, 30)] {
        store.server_write(&server(n, 0, seen)).await.unwrap();
    }
    let before = START + Duration::from_secs(20);
    assert_eq!(store.servers_purge(before).await.unwrap(), 1);
    assert_eq!(store.servers_purge(before).await.unwrap(), 0);
    assert_eq!(store.servers().await.unwrap(), [server(2, 0, 20), server(3, 0, 30)]);
}
