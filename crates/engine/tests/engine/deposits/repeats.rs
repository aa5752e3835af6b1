//! Credentials that come again: with the same request, with another one, and late.

use super::{Deposit, refused, request};
use crate::scene::Scene;
use std::time::Duration;
use tithe_engine::EngineError;
use tithe_engine::sessions::PaymentSessionError;

#[tokio::test(start_paused = true)]
async fn a_challenge_is_used_for_one_request_and_repeated_for_the_same() {
    let scene = Scene::open().await;
    let server = scene.server();
    let deposit = Deposit::opened(&scene, &server).await;
    let bearing = deposit.bearing(&server).await;
    let first = request(&server, &bearing, "hello").await.unwrap();
    let balance = deposit.balance(&scene).await;
    let again = request(&scene.server_elsewhere().await, &bearing, "hello").await.unwrap();
    assert!(again.replayed && again.response == first.response);
    let other = request(&server, &bearing, "something else").await;
    assert!(matches!(other, Err(EngineError::IdempotencyKeyReused)), "{other:?}");
    assert_eq!(deposit.balance(&scene).await, balance);
    // An expired challenge repeats what it was used for, and is for nothing else.
    let unused = deposit.bearing(&server).await;
    scene.clock.advance(scene.settings.invoice_expiry + Duration::from_secs(1));
    assert_eq!(request(&server, &bearing, "hello").await.unwrap().response, first.response);
    assert_eq!(refused(request(&server, &unused, "hello").await), PaymentSessionError::ChallengeExpired);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_repeated_after_its_answer_was_deleted_is_not_charged_again() {
    let mut scene = Scene::open().await;
    scene.settings.payment_session_idle = Duration::from_hours(24 * 7);
    // Longer than answers are kept.
    scene.settings.invoice_expiry = Duration::from_hours(24 * 7);
    let server = scene.server();
    let deposit = Deposit::paid(&scene, &server).await;
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let first = request(&server, &opening, "hello").await.unwrap();
    let bearing = deposit.bearing(&server).await;
    let second = request(&server, &bearing, "and now?").await.unwrap();
    let balance = deposit.balance(&scene).await;
    scene.clock.advance(Duration::from_hours(23));
    assert_eq!(request(&server, &opening, "hello").await.unwrap().response, first.response);
    assert_eq!(request(&server, &bearing, "and now?").await.unwrap().response, second.response);
    // At the end of that time, and after it, whether the answer is still there or not.
    for wait in [59 * 60, 120, 24 * 3_600] {
        scene.clock.advance(Duration::from_secs(wait));
        for (credential, text) in [(&opening, "hello"), (&opening, "another"), (&bearing, "and now?")] {
            let refused = refused(request(&server, credential, text).await);
            assert_eq!(refused, PaymentSessionError::ChallengeExpired, "{text}");
        }
        assert_eq!(deposit.balance(&scene).await, balance);
    }
    // The session goes on.
    request(&server, &deposit.bearing(&server).await, "more").await.unwrap();
    assert!(deposit.balance(&scene).await < balance);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposit_that_is_opened_late_is_opened_with_its_request() {
    let mut scene = Scene::open().await;
    scene.settings.paid_request_idle = Duration::from_hours(24 * 7);
    let server = scene.server();
    let deposit = Deposit::paid(&scene, &server).await;
    scene.clock.advance(Duration::from_hours(48));
    let opening = deposit.opening(&server, deposit.return_invoice.as_str());
    let first = request(&server, &opening, "hello").await.unwrap();
    let balance = deposit.balance(&scene).await;
    assert_eq!(request(&server, &opening, "hello").await.unwrap().response, first.response);
    assert_eq!(deposit.balance(&scene).await, balance);
    scene.finish().await;
}
