//! How long a request may take whose payment is held, and what becomes of it otherwise.

use crate::held_requests::{
    assert_given_back, evaluating, holding, offer, pay_held, reading, redeem, started, taken, uncollected,
};
use crate::paid_requests::proof;
use crate::scene::{Answer, Ends, Point, Scene, Server};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_engine::sessions::PaymentState;
use tithe_pricing::Usage;

/// A server that evaluates requests, started.
fn evaluating_started(scene: &Scene) -> Server {
    let mut server = evaluating(scene.server());
    server.start();
    server
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_longer_than_wallets_wait_is_given_back_and_the_next_is_paid_beforehand() {
    let scene = holding().await;
    let server = started(&scene);
    let offered = offer(&server, "hello").await;
    scene.backend.say_to_work(Answer::of(&[], Ends::Never));
    let began = scene.clock.now();
    pay_held(&scene, &offered).await;
    assert_given_back(&scene, &offered).await;
    let held = scene.clock.now().since(began);
    assert!(held < Duration::from_mins(1), "it was held for {held:?}");
    assert!(!offer(&server, "hello").await.is_held);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_written_when_the_time_is_over_is_not_taken_money_for() {
    let scene = holding().await;
    let server = started(&scene);
    let offered = offer(&server, "hello").await;
    scene.backend.say_to_work(Answer::of(&["The sky is", " blue bec"], Ends::Silent));
    pay_held(&scene, &offered).await;
    assert_given_back(&scene, &offered).await;
    assert!(uncollected(&scene).await > 0, "the operator bears it");
    assert!(!offer(&server, "hello").await.is_held, "prepaid, it has the time");
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_counts_towards_the_time() {
    for is_slow in [true, false] {
        let scene = holding().await;
        let server = evaluating_started(&scene);
        let offered = offer(&server, "hello").await;
        let mut gate = scene.backend.gate(Point::Evaluation);
        if !is_slow {
            scene.backend.say_to_work(Answer::of(&["The sky"], Ends::Silent));
        }
        pay_held(&scene, &offered).await;
        gate.reached().await;
        tokio::time::sleep(Duration::from_secs(if is_slow { 60 } else { 20 })).await;
        gate.open();
        assert_given_back(&scene, &offered).await;
        assert!(!offer(&server, "hello").await.is_held, "slow: {is_slow}");
        scene.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_gives_payments_back_soon_and_takes_them_beforehand_for_a_while() {
    let mut scene = holding().await;
    scene.settings.session_requests = 1;
    let server = started(&scene);
    let (first, second) = (offer(&server, "hello").await, offer(&server, "another").await);
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &first).await;
    gate.reached().await;
    let began = scene.clock.now();
    pay_held(&scene, &second).await;
    assert_given_back(&scene, &second).await;
    let held = scene.clock.now().since(began);
    assert!(held < Duration::from_secs(10), "it was held for {held:?}");
    assert!(!offer(&server, "a third").await.is_held);
    gate.open();
    let preimage = taken(&scene, &first).await;
    assert!(redeem(&server, &first, preimage, "hello").await.replayed);
    assert_eq!(scene.backend.works(), 1);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_reasoning_alone_is_charged_because_a_failure_would_cost_nothing_at_all() {
    let scene = holding().await;
    let server = evaluating_started(&scene);
    let offered = offer(&server, "hello").await;
    let reasoning = Usage { input_tokens: 7, output_tokens: 900, ..Usage::ZERO };
    scene.backend.say_to_work(Answer::of(&[], Ends::Finished(Some(reasoning))));
    pay_held(&scene, &offered).await;
    let preimage = taken(&scene, &offered).await;
    let view = server.engine.sessions.payment(&proof(&server, &offered, preimage)).await.unwrap();
    assert_eq!(view.state, PaymentState::Used);
    assert!(!view.charged.is_zero());
    assert_eq!(uncollected(&scene).await, 0);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_hands_its_requests_over() {
    let scene = holding().await;
    let mut server = started(&scene);
    let offered = offer(&server, "hello").await;
    let mut gate = scene.backend.gate(Point::Work);
    pay_held(&scene, &offered).await;
    gate.reached().await;
    server.stop(Duration::ZERO).await;
    let mut other = reading(scene.server_elsewhere().await);
    other.start();
    let preimage = taken(&scene, &offered).await;
    assert!(redeem(&other, &offered, preimage, "hello").await.replayed);
    assert_eq!(scene.backend.works(), 2, "what the first has done is the operator's");
    scene.finish().await;
}
