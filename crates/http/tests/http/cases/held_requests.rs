//! Requests that are done before their payment is taken.

use crate::app::{
    Metered, Offer, Options, Paid, Says, TestApp, TestUpstream, called, challenged, hash_of, mount, settings,
    tool_call, with_credential,
};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tithe_engine::Settings;
use tithe_money::Sats;
use tithe_pricing::CallPrice;

/// The options of a server whose operator wants requests to be held, with room for many of one address: all are of one here.
fn holding() -> Options {
    // One address has an eighth of half of that.
    let settings = Settings { hold_requests: true, held_payments_max: 480, ..settings() };
    Options { settings, ..Options::default() }
}

/// The payer's wallet, which waits until its payment has been taken, or has come back: then `None`.
async fn pay(app: &TestApp, offer: &Offer) -> Option<Paid> {
    let paying = pay_in_the_end(app, offer);
    tokio::time::timeout(Duration::from_mins(2), paying).await.unwrap()
}

async fn pay_in_the_end(app: &TestApp, offer: &Offer) -> Option<Paid> {
    let hash = offer.hash();
    loop {
        let answer = app.try_pay(&hash).await;
        if answer.status == 200 {
            let preimage = answer.json()["preimage"].as_str().unwrap().to_owned();
            return Some(Paid { offer: offer.clone(), preimage });
        }
        answer.is_problem(409, "not_payable");
        if !answer.json()["detail"].as_str().unwrap().contains("payment held") {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_route_is_done_before_its_payment_is_taken_and_the_proof_replays_the_answer() {
    let (app, backend) = TestApp::scripted(holding());
    for route in Metered::ALL {
        for stream in [false, true].into_iter().filter(|stream| !stream || route.streams()) {
            let body = route.body("Why is the sky blue?", stream);
            let refused = app.ai_send(app.metered(route, &body, stream)).await;
            let offer = Offer::of(route, &refused);
            assert_eq!(offer.body["payment"], "held", "{route:?}");
            let paid = pay(&app, &offer).await.unwrap();
            let done = backend.asked();
            for proof in [paid.l402(), paid.payment()] {
                let answer =
                    app.ai_send(app.metered(route, &body, stream).header("Authorization", &proof)).await;
                assert_eq!(answer.status, 200, "{route:?}: {}", answer.text);
                assert_eq!(answer.header("idempotency-replayed"), "true", "{route:?} {stream}");
                assert_ne!(answer.header("payment-receipt"), "", "{route:?} {stream}");
                assert_eq!(
                    answer.header("content-type").starts_with("text/event-stream"),
                    stream,
                    "{route:?}"
                );
            }
            assert_eq!(backend.asked(), done, "{route:?}: it was done once");
            let state = paid.state(&app).await;
            assert_eq!(state["state"], "used", "{state}");
            assert!(state["chargedMsats"].as_u64().unwrap() > 0, "{state}");
            // It buys nothing else.
            let other = route.body("Why is the sea blue?", stream);
            let refused = app.proving(route, &other, &paid.l402()).await;
            assert_eq!(route.facts(&refused)["code"], "proof_for_another_request");
        }
    }
}

#[tokio::test]
async fn a_request_that_fails_costs_nothing_and_may_be_asked_again() {
    let app = TestApp::with(holding());
    let body = json!({"request": "[sim:refuse]", "maxOutputTokens": 400});
    let offer = app.offer(Metered::Ask, &body).await;
    assert!(pay(&app, &offer).await.is_none());
    let again = app.offer(Metered::Ask, &body).await;
    assert_ne!(again.hash(), offer.hash());
    assert_eq!(again.body["payment"], "held");
}

#[tokio::test]
async fn a_mounted_route_is_called_once_and_its_answer_replayed() {
    let upstream =
        TestUpstream::start(Says::whole(201, &[("Content-Type", "image/png")], &[0, 159, 146, 150])).await;
    let price = CallPrice::Fixed(Sats::new(7).unwrap());
    let mounts = vec![mount("/paid/weather", upstream.address, price)];
    let app = TestApp::with(Options { mounts, ..holding() });
    let request = || {
        let request = app.request(Method::POST, "/paid/weather?city=Rome").body("{\"day\":1}");
        request.header("Accept-Language", "de")
    };
    let offer = Offer::of(Metered::Ask, &app.send(request()).await);
    assert_eq!((&offer.body["payment"], upstream.calls().len()), (&json!("held"), 0));
    let paid = pay(&app, &offer).await.unwrap();
    assert_eq!(upstream.calls().len(), 1);
    for _ in 0..2 {
        let answer = request().header("Authorization", paid.l402()).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (201, &"image/png".parse().unwrap())
        );
        assert_eq!(answer.headers()["idempotency-replayed"], "true");
        assert_eq!(&answer.bytes().await.unwrap()[..], [0, 159, 146, 150]);
    }
    assert_eq!(upstream.calls().len(), 1);
    assert_eq!(paid.state(&app).await["chargedMsats"], 7_000);
}

#[tokio::test]
async fn what_must_not_be_kept_is_paid_for_beforehand() {
    let small = json!({"request": "hello", "maxOutputTokens": 400});
    let payment = async |app: &TestApp, body: String| {
        let answer = app.post("/api/ask", body).await;
        Offer::of(Metered::Ask, &answer).body["payment"].clone()
    };
    let app = TestApp::with(holding());
    assert_eq!(payment(&app, small.to_string()).await, "held");
    let large = format!("{small}{}", " ".repeat(64 * 1024));
    assert_eq!(payment(&app, large).await, "prepaid");
    drop(app);
    let off = TestApp::with(Options { settings: settings(), ..Options::default() });
    assert_eq!(payment(&off, small.to_string()).await, "prepaid");
}

#[tokio::test]
async fn a_call_of_mcp_is_paid_for_beforehand_and_done_when_it_comes_with_its_credential() {
    let (app, backend) = TestApp::scripted(holding());
    let arguments = json!({ "request": "Why is the sky blue?", "maxOutputTokens": 400 });
    let unpaid = app.mcp_send(&tool_call(1, &arguments)).await;
    let (error, challenge) = challenged(&unpaid, -32_042, "charge");
    assert_eq!(error["data"]["problem"]["offer"]["payment"], "prepaid");
    let paid = app.mcp_bought(&arguments).await;
    assert_eq!((paid.hash(), backend.asked()), (hash_of(&challenge), 0), "nothing is done before");
    let done = app.mcp_send(&with_credential(tool_call(2, &arguments), &paid.credential())).await;
    assert!(!called(&done).0.is_empty());
    // What is offered anew for a credential that proves nothing is no hold invoice either.
    let mut forged = paid.credential();
    forged["payload"]["preimage"] = json!("00".repeat(32));
    let refused = app.mcp_send(&with_credential(tool_call(3, &arguments), &forged)).await;
    let (error, _) = challenged(&refused, -32_043, "charge");
    assert_eq!(error["data"]["problem"]["offer"]["payment"], "prepaid");
}

#[tokio::test]
async fn the_same_request_is_not_offered_again_while_it_is_being_paid_for() {
    let app = TestApp::with(holding());
    let body = json!({"request": "[sim:stall]", "maxOutputTokens": 400});
    let offer = app.offer(Metered::Ask, &body).await;
    let held = app.try_pay(&offer.hash()).await;
    held.is_problem(409, "not_payable");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let unavailable = loop {
        let refused = app.post("/api/ask", body.to_string()).await;
        refused.is_problem(402, "payment_required");
        if let Some(why) = refused.json()["offer"]["unavailable"].as_str() {
            break why.to_owned();
        }
        assert!(tokio::time::Instant::now() < deadline, "the server learns of the payment");
    };
    assert!(unavailable.contains("repeat it with the proof"), "{unavailable}");
    let other = json!({"request": "Why is the sky blue?", "maxOutputTokens": 400});
    assert_eq!(app.offer(Metered::Ask, &other).await.body["payment"], "held");
}
