//! Following jobs.

use crate::app::{Event, TestApp, ids, text_of};
use reqwest::Method;
use serde_json::Value;
use tithe_clock::Timestamp;

const STATES: [&str; 5] =
    ["awaiting_eval_payment", "evaluating", "awaiting_work_payment", "executing", "complete"];

fn states(events: &[Event]) -> Vec<&str> {
    let states = events.iter().filter(|event| event.name == "state");
    states.map(|event| event.data["state"].as_str().unwrap()).collect()
}

/// The state changes, each with its revision. A client that connects while others still follow an ended job may also
/// see its text, so the ids of one state change can differ in their text offset.
fn steps(events: &[Event]) -> Vec<(u64, Value)> {
    let steps = events.iter().filter(|event| event.name == "state");
    steps.map(|event| (numbers(&event.id)[0], event.data.clone())).collect()
}

/// The numbers in an event id.
fn numbers(id: &str) -> [u64; 3] {
    let numbers: Vec<u64> = id.split('-').take(3).map(|part| part.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[tokio::test]
async fn a_follower_sees_every_state_in_order_and_the_text_as_it_is_generated() {
    let app = TestApp::new();
    let (id, hash) = app.job_create("[sim:slow=2] Tell me.").await;
    let mut stream = app.follow(&id, None).await;
    let mut events = Vec::new();
    let mut next_to_pay = Some(hash);
    loop {
        if let Some(hash) = next_to_pay.take() {
            app.pay(&hash).await;
        }
        let Some(event) = stream.next().await else { break };
        if event.data["state"] == "awaiting_work_payment" {
            next_to_pay = Some(event.data["workInvoice"]["paymentHash"].as_str().unwrap().to_owned());
        }
        events.push(event);
    }
    assert_eq!(states(&events), STATES);
    let last = events.last().unwrap();
    assert_eq!(text_of(&events), last.data["result"].as_str().unwrap());
    assert!(
        events.iter().filter(|event| event.name == "delta").count() > 3,
        "expected the text in several deltas"
    );
    assert!(ids(&events).into_iter().map(numbers).is_sorted_by(|a, b| a < b), "{:?}", ids(&events));
    assert_eq!(last.data, app.job(&id).await, "the last event differs from the job");
}

#[tokio::test]
async fn a_late_follower_sees_every_state_as_it_was() {
    let app = TestApp::new();
    let done = app.job_complete("Tell me.").await;
    let id = done["jobId"].as_str().unwrap();
    let events = app.follow_to_the_end(id, None).await;
    assert_eq!(states(&events), STATES);
    let steps: Vec<_> = steps(&events).into_iter().map(|(_, data)| data).collect();
    assert!(steps[0]["evalInvoice"].is_object());
    assert!(steps[2]["workInvoice"].is_object() && steps[2]["pricing"].is_object());
    let knows_the_end =
        |step: &Value| ["result", "usage", "charged", "refund"].iter().any(|f| step.get(f).is_some());
    assert!(!steps[..4].iter().any(knows_the_end), "a state contains later data: {steps:?}");
    let time = |step: &Value| Timestamp::parse_rfc3339(step["updatedAt"].as_str().unwrap()).unwrap();
    assert!(steps.is_sorted_by_key(time));
    assert!(time(&steps[0]) < time(&steps[4]), "the first state has the time of the last");
    assert_eq!(steps[4], app.job(id).await);
}

#[tokio::test]
async fn following_an_ended_job_from_any_id_returns_exactly_the_rest() {
    let app = TestApp::new();
    let done = app.job_complete("Tell me.").await;
    let id = done["jobId"].as_str().unwrap();
    let all = app.follow_to_the_end(id, None).await;
    for (seen, event) in all.iter().enumerate() {
        let rest = app.follow_to_the_end(id, Some(&event.id)).await;
        assert_eq!(steps(&rest), steps(&all[seen + 1..]), "after {}", event.id);
    }
}

#[tokio::test]
async fn following_from_an_id_within_the_text_returns_the_rest_of_the_text() {
    let app = TestApp::new();
    let id = app.job_paid("[sim:slow=15] Grüße, ☃! Tell me slowly.").await;
    let mut text = String::new();
    let mut last = None;
    let mut connections = 0;
    'connect: loop {
        connections += 1;
        let mut stream = app.follow(&id, last.as_deref()).await;
        let mut taken = 0;
        while let Some(event) = stream.next().await {
            last = Some(event.id.clone());
            match event.name.as_str() {
                "delta" => text.push_str(event.data["text"].as_str().unwrap()),
                _ if event.data["state"] == "complete" => {
                    assert_eq!(
                        event.data["result"].as_str().unwrap(),
                        text,
                        "after {connections} connections"
                    );
                    break 'connect;
                }
                _ => {}
            }
            taken += 1;
            if taken == 4 {
                continue 'connect;
            }
        }
        panic!("the stream ended early");
    }
    assert!(connections > 5, "{connections}");
}

#[tokio::test]
async fn all_followers_see_the_same_events() {
    let app = TestApp::new();
    let (id, work) = app.job_accepted("[sim:slow=2] Tell everybody.").await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(app.follow(&id, None).await);
    }
    app.pay(&work).await;
    let all = futures_util::future::join_all(streams.into_iter().map(crate::app::Events::rest)).await;
    for events in &all {
        assert_eq!(states(events), STATES);
        assert_eq!(text_of(events), events.last().unwrap().data["result"].as_str().unwrap());
    }
}

#[tokio::test]
async fn a_follower_that_leaves_changes_nothing() {
    let app = TestApp::new();
    let id = app.job_paid("[sim:slow=5] Tell me.").await;
    let mut stream = app.follow(&id, None).await;
    while stream.next().await.unwrap().name != "delta" {}
    drop(stream);
    let done = app.job_reaches(&id, "complete").await;
    assert!(done["result"].as_str().unwrap().contains("Tell me."));
}

#[tokio::test]
async fn malformed_event_ids_say_nothing() {
    let app = TestApp::new();
    let done = app.job_complete("Tell me.").await;
    let id = done["jobId"].as_str().unwrap();
    let all = app.follow_to_the_end(id, None).await;
    for wrong in ["", "x", "1", "1-1", "1-1-1-1", "-1-0-0", "4294967296-0-0", "1.0-0-0"] {
        assert_eq!(app.follow_to_the_end(id, Some(wrong)).await, all, "{wrong:?}");
    }
}

#[tokio::test]
async fn following_an_ended_job_from_a_later_id_ends_immediately() {
    let app = TestApp::new();
    let done = app.job_complete("Tell me.").await;
    let id = done["jobId"].as_str().unwrap();
    let path = format!("/api/jobs/{id}/events");
    // The name of the stream, which ends every id.
    let stream = id.replace('-', "")[20..].to_owned();
    let ahead = format!("4294967295-0-0-{stream}");
    let seen_all = app.request(Method::GET, &path).header("Last-Event-ID", &ahead).send().await.unwrap();
    assert_eq!(seen_all.status(), 204);
    for ahead in [ahead, format!("4294967295-4294967295-18446744073709551615-{stream}")] {
        assert_eq!(app.follow_to_the_end(id, Some(&ahead)).await, []);
    }
    let within = format!("0-4294967295-18446744073709551615-{stream}");
    assert_eq!(states(&app.follow_to_the_end(id, Some(&within)).await), STATES);
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams() {
    let app = TestApp::standing();
    let (id, _) = app.job_create("hello").await;
    let mut stream = app.follow(&id, None).await;
    assert_eq!(stream.next().await.unwrap().data["state"], "awaiting_eval_payment");
    app.stop_streams();
    assert_eq!(stream.next().await, None);
}
