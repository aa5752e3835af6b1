//! Streams of services behind mounted routes.

use crate::app::{Gate, Metered, Offer, Options, Says, TestApp, TestUpstream, chunk, mount, stream_head};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tithe_money::Msats;
use tithe_pricing::CallPrice;

async fn started(says: Says) -> (TestApp, TestUpstream) {
    let price = CallPrice::PerToken { msats: Msats::new(1000).unwrap(), tokens_max: 20 };
    let upstream = TestUpstream::start(says).await;
    let mounts = vec![mount("/paid/chat", upstream.address, price)];
    (TestApp::with(Options { mounts, ..Options::default() }), upstream)
}

fn request(app: &TestApp) -> RequestBuilder {
    app.request(Method::POST, "/paid/chat").body("{\"stream\":true}")
}

const FIRST: &str = "data: {\"text\":\"\u{2603}\"}\n\n";
const REST: &str = "data: {\"usage\":{\"total_tokens\":5}}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn events_are_passed_on_while_they_arrive_and_repeated_as_a_whole() {
    let gate = Gate::default();
    let pieces = vec![[stream_head(), chunk(FIRST)].concat(), chunk(REST), chunk("")];
    let (app, upstream) = started(Says::Gated(pieces, gate.clone())).await;
    let paid = Offer::of(Metered::Ask, &app.send(request(&app)).await).paid(&app).await;
    let mut answer = request(&app).header("Authorization", paid.l402()).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let mut read = String::new();
    while read != FIRST {
        read.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
        assert!(FIRST.starts_with(&read), "{read}");
    }
    gate.open();
    while let Some(piece) = answer.chunk().await.unwrap() {
        read.push_str(std::str::from_utf8(&piece).unwrap());
    }
    assert_eq!(read, format!("{FIRST}{REST}"));
    let again = app.ai_send(request(&app).header("Authorization", paid.l402())).await;
    assert_eq!((again.text.as_str(), again.header("content-type")), (read.as_str(), "text/event-stream"));
    assert_eq!(upstream.calls().len(), 1);
    let state = paid.state(&app).await;
    assert_eq!(
        (&state["chargedMsats"], &state["refund"]["amountSats"]),
        (&json!(5_000), &json!(15)),
        "{state}"
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_not_charged() {
    let gate = Gate::default();
    gate.open();
    let pieces = vec![[stream_head(), chunk(FIRST)].concat(), b"5\r\nda".to_vec()];
    let (app, upstream) = started(Says::Gated(pieces, gate)).await;
    let paid = Offer::of(Metered::Ask, &app.send(request(&app)).await).paid(&app).await;
    let answer = app.ai_send(request(&app).header("Authorization", paid.l402())).await;
    let (before, error) = answer.text.split_once("\n\nevent: error\ndata: ").unwrap();
    assert!(before.starts_with(FIRST.trim_end()), "{before}");
    let error: serde_json::Value = serde_json::from_str(error.trim_end()).unwrap();
    assert_eq!(error["code"], "work_failed", "{error}");
    let again = app.send(request(&app).header("Authorization", paid.l402())).await;
    again.is_problem(502, "work_failed");
    let state = paid.state(&app).await;
    assert_eq!((&state["chargedMsats"], &state["refund"]["amountSats"]), (&json!(0), &json!(20)), "{state}");
    assert_eq!((upstream.calls().len(), app.uncollected().await), (1, 20_000));
}

#[tokio::test]
async fn a_stream_that_was_asked_for_can_be_answered_otherwise() {
    let (app, upstream) = started(Says::json(429, "{\"error\":\"slow down\"}")).await;
    let paid = Offer::of(Metered::Ask, &app.send(request(&app)).await).paid(&app).await;
    let answer = app.ai_send(request(&app).header("Authorization", paid.l402())).await;
    assert_eq!((answer.status, answer.header("content-type")), (429, "application/json"));
    assert_eq!((answer.text.as_str(), upstream.calls().len()), ("{\"error\":\"slow down\"}", 1));
}

#[tokio::test]
async fn a_client_that_leaves_has_bought_the_whole_stream() {
    let gate = Gate::default();
    let pieces = vec![[stream_head(), chunk(FIRST)].concat(), chunk(REST), chunk("")];
    let (app, upstream) = started(Says::Gated(pieces, gate.clone())).await;
    let paid = Offer::of(Metered::Ask, &app.send(request(&app)).await).paid(&app).await;
    let mut answer = request(&app).header("Authorization", paid.l402()).send().await.unwrap();
    let _first = answer.chunk().await.unwrap().unwrap();
    drop(answer);
    gate.open();
    let again = app.ai_send(request(&app).header("Authorization", paid.l402())).await;
    assert_eq!(again.text, format!("{FIRST}{REST}"));
    assert_eq!(upstream.calls().len(), 1);
}
