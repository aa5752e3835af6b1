//! Events in the streams of sessions of the scheme `Payment`.

use crate::app::{Deposit, Ends, Metered, Options, PaymentSession, Script, TestApp, Wire};
use futures_util::StreamExt;
use serde_json::Value;
use tithe_chat::Finish;
use tithe_money::Sats;
use tithe_pricing::Usage;

const CHAT: Metered = Metered::Ai(Wire::Chat);

/// A piece of an answer of 64 tokens.
fn piece() -> String {
    " alpha".repeat(64)
}

const EVENTS: [&str; 3] = ["payment-need-topup", "session-timeout", "payment-receipt"];

#[tokio::test]
async fn the_receipt_comes_before_the_last_event_and_nobody_else_gets_one() {
    let app = TestApp::new();
    for route in Metered::ALL.into_iter().filter(|route| route.streams()) {
        let body = route.body("hello", true);
        let refused = app.ai_send(app.metered(route, &body, true)).await;
        let deposit = Deposit::of(&refused);
        let preimage = deposit.pay(&app).await;
        let session = PaymentSession { deposit, preimage, return_invoice: app.good_return_invoice().await };
        let proving = |proof: String| app.metered(route, &body, true).header("Authorization", proof);
        for _ in 0..2 {
            let answer = app.ai_send(proving(session.open())).await;
            assert_eq!(answer.status, 200, "{route:?}: {}", answer.text);
            assert_ne!(answer.header("payment-receipt"), "");
            let events: Vec<&str> = answer.text.trim_end().split("\n\n").collect();
            let receipt = events[events.len() - 2];
            let data = receipt
                .strip_prefix("event: payment-receipt\ndata: ")
                .unwrap_or_else(|| panic!("{events:?}"));
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!((&data["reference"], &data["units"]), (&session.deposit.hash().into(), &1.into()));
            assert!(data["spent"].as_u64().unwrap() >= 1, "{data}");
        }
        let paid = crate::app::Offer::of(route, &refused).paid(&app).await;
        for proof in [paid.l402(), paid.payment()] {
            let answer = app.ai_send(proving(proof)).await;
            assert_eq!(answer.status, 200);
            assert!(EVENTS.iter().all(|event| !answer.text.contains(event)), "{}", answer.text);
        }
    }
}

/// Reads a stream until it has said this, and returns what it has said.
async fn read_until(
    stream: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    text: &str,
) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let Some(more) = stream.next().await else { panic!("no {text}: {all}") };
        let more = more.unwrap_or_else(|error| panic!("{error} before {text}: {all}"));
        all.push_str(std::str::from_utf8(&more).unwrap());
    }
    all
}

#[tokio::test]
async fn a_stream_that_runs_dry_goes_on_after_a_top_up() {
    let settings = tithe_engine::Settings {
        session_payment_min: Sats::new(40).unwrap(),
        payment_session_deposit: Sats::ONE,
        ..crate::app::settings()
    };
    let (app, backend) = TestApp::scripted(Options { settings, ..Options::default() });
    let pieces = vec![piece(); 40];
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let usage = Usage { input_tokens: 20, output_tokens: 40 * 64, ..Usage::ZERO };
    let session = poor(&app).await;
    let mut body = CHAT.body("hello", true);
    body["max_tokens"] = 4_096.into();
    body["stream_options"] = serde_json::json!({ "include_usage": true });
    let by = Deposit::of(&app.ai_send(app.metered(CHAT, &body, true)).await);
    backend.say(Script::of(&pieces, Ends::Finished(Finish::Stop, Some(usage))));
    let request = app.metered(CHAT, &body, true).header("Authorization", session.bearer(&by));
    let mut stream = request.send().await.unwrap().bytes_stream();
    let before = read_until(&mut stream, "event: payment-need-topup\n").await;
    let more = app.deposit_by_get(CHAT).await;
    let preimage = more.pay(&app).await;
    let topped = app.ai_send(app.getting(CHAT, &session.top_up(&more, preimage))).await;
    assert_eq!(topped.status, 200, "{}", topped.text);
    let all = before + &read_until(&mut stream, "data: [DONE]\n\n").await;
    assert_eq!(all.matches(" alpha").count(), 40 * 64, "{all}");
    assert!(all.contains("event: payment-receipt\n") && !all.contains("event: session-timeout\n"), "{all}");
}

/// A session with a deposit of 40 sats, which pays for about 2,300 tokens of output.
async fn poor(app: &TestApp) -> PaymentSession {
    let mut body = CHAT.body("hello", false);
    body["max_tokens"] = 100.into();
    let session = app.opened_session(CHAT, &body).await;
    assert_eq!(session.deposit.sats(), 40);
    session
}
