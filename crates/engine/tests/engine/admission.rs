//! Who may have how many unpaid jobs.

use crate::scene::{Scene, Server, asking, job_of};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::EngineError;
use tithe_engine::jobs::{NewJobRequest, Origin};
use tithe_jobs::{JobId, StateName};
use tithe_store_suite::people::{pubkey, raise};

const MINUTE: Duration = Duration::from_mins(1);

impl Server {
    async fn create_from(&self, origin: &str, identity: Option<u32>) -> Result<JobId, EngineError> {
        let (origin, identity) = (Some(Origin::new(origin)), identity.map(pubkey));
        let new = NewJobRequest { identity, origin, ..asking("hello") };
        self.create_with(new, None).await.map(|created| job_of(&created))
    }
}

#[tokio::test(start_paused = true)]
async fn one_origin_has_only_so_many_unpaid_jobs_and_others_are_not_kept_out() {
    let mut scene = Scene::open().await;
    scene.settings.max_unpaid_per_origin = 3;
    let server = scene.started();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(server.create_from("here", None).await.unwrap());
        scene.clock.advance(MINUTE);
    }
    match server.create_from("here", None).await {
        Err(EngineError::TooManyUnpaidOfYours { most: 3, retry_after }) => {
            // The first invoice expires ten minutes after it was made.
            assert_eq!(retry_after, MINUTE * 7);
        }
        other => panic!("{other:?}"),
    }
    // A new key is as free as none.
    assert!(server.create_from("here", Some(1)).await.is_err());
    server.create_from("there", None).await.unwrap();
    // A payment makes room, and so does the end of an invoice.
    scene.pay_evaluation(jobs[0]).await;
    scene.until(jobs[0], |job| job.state.name() != StateName::AwaitingEvalPayment).await;
    jobs.push(server.create_from("here", None).await.unwrap());
    assert!(server.create_from("here", None).await.is_err());
    scene.clock.advance(scene.settings.invoice_expiry);
    server.create_from("here", None).await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_makes_no_job_takes_no_room() {
    let mut scene = Scene::open().await;
    scene.settings.max_unpaid_per_origin = 1;
    let server = scene.server();
    scene.prices.set(None);
    assert!(server.create_from("here", None).await.is_err());
    scene.prices.set(Some("100000"));
    server.create_from("here", None).await.unwrap();
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn strangers_leave_room_for_whoever_has_trust() {
    let mut scene = Scene::open().await;
    (scene.settings.max_unpaid_invoices, scene.settings.max_unpaid_per_identity) = (10, 2);
    raise(scene.store.as_ref(), [1, 2], 20, scene.clock.now()).await;
    let server = scene.server();
    for n in 0..8 {
        server.create_from(&n.to_string(), None).await.unwrap();
    }
    let refused = server.create_from("another", None).await;
    assert!(matches!(refused, Err(EngineError::TooManyUnpaid)), "{refused:?}");
    // They count by their keys, wherever they come from.
    server.create_from("0", Some(1)).await.unwrap();
    server.create_from("0", Some(1)).await.unwrap();
    let refused = server.create_from("elsewhere", Some(1)).await;
    assert!(matches!(refused, Err(EngineError::TooManyUnpaid)), "ten invoices are unpaid: {refused:?}");
    scene.finish().await;
}
