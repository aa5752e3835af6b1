//! What became of payments for one request, and claiming what is left of them.

use crate::app::{Ends, Metered, Offer, Options, Paid, Script, TestApp, Wire};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_chat::Finish;
use tithe_clock::Timestamp;
use tithe_money::Sats;
use tithe_paywall::{Caveat, Macaroon};
use tithe_pricing::Usage;

const USED: Usage = Usage { input_tokens: 120, output_tokens: 40, ..Usage::ZERO };

/// A request that costs enough for its rest to be paid out.
fn dear(route: Metered) -> Value {
    route.body(&"word ".repeat(5_000), false)
}

/// Waits until the refund of a payment is in this state.
async fn refunded(app: &TestApp, paid: &Paid, state: &str) -> Value {
    for _ in 0..400 {
        let payment = paid.state(app).await;
        if payment["refund"]["state"] == state {
            return payment;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{state} is not reached: {}", paid.state(app).await)
}

async fn invoice(app: &TestApp, sats: &Value) -> Value {
    let made = app.post("/dev/stub/invoice", json!({ "amountSats": sats }).to_string()).await.ok(201);
    json!({ "invoice": made["paymentRequest"] })
}

#[tokio::test]
async fn what_a_request_did_not_use_is_paid_to_whoever_has_the_proof() {
    let (app, backend) = TestApp::scripted(Options::default());
    for wire in Wire::ALL {
        let route = Metered::Ai(wire);
        let paid = app.bought(route, &dear(route)).await;
        backend.say(Script::of(&["The sky."], Ends::Finished(Finish::Stop, Some(USED))));
        assert_eq!(app.proving(route, &dear(route), &paid.l402()).await.status, 200);
        let payment = paid.state(&app).await;
        let (sats, charged) = (paid.offer.sats(), app.price(&USED).await);
        assert_eq!(
            (&payment["state"], &payment["amountSats"], &payment["paidMsats"], &payment["chargedMsats"]),
            (&json!("used"), &json!(sats), &json!(sats * 1_000), &json!(charged))
        );
        assert!(payment["requestId"].is_string() && payment.get("expiresAt").is_none(), "{payment}");
        // Fractions of a sat are not refunded.
        let due = sats - charged.div_ceil(1_000);
        let refund = &payment["refund"];
        assert_eq!((&refund["state"], &refund["dueSats"]), (&json!("pending"), &json!(due)), "{payment}");
        let destination = invoice(&app, &refund["payableSats"]).await;
        let claimed = app.payment_refund(&paid, &destination).await.ok(202);
        assert_eq!((&claimed["state"], &claimed["paymentHash"]), (&json!("used"), &json!(paid.offer.hash())));
        let payment = refunded(&app, &paid, "paid").await;
        assert_eq!(payment["refund"]["amountSats"], due);
        // The proof repeats its answer all the same, and no more is paid out.
        assert_eq!(app.proving(route, &dear(route), &paid.payment()).await.status, 200);
        let again = app.payment_refund(&paid, &destination).await.ok(202);
        assert_eq!(again["refund"], payment["refund"]);
    }
}

#[tokio::test]
async fn a_payment_that_was_not_used_is_claimed_as_a_whole_and_buys_nothing_any_more() {
    let (app, backend) = TestApp::scripted(Options::default());
    let route = Metered::Ai(Wire::Chat);
    let paid = app.bought(route, &dear(route)).await;
    let before = paid.state(&app).await;
    assert_eq!((&before["state"], before["expiresAt"].is_string()), (&json!("paid"), true), "{before}");
    // A destination that is not suitable changes nothing.
    app.payment_refund(&paid, &json!({ "invoice": "lnbc1" })).await.is_problem(400, "invalid_field");
    assert_eq!(paid.state(&app).await["state"], "paid");
    let claimed = app.payment_refund(&paid, &json!({})).await.ok(202);
    assert_eq!(
        (&claimed["state"], &claimed["refund"]["dueSats"]),
        (&json!("returned"), &json!(paid.offer.sats())),
        "{claimed}"
    );
    let destination = invoice(&app, &claimed["refund"]["payableSats"]).await;
    app.payment_refund(&paid, &destination).await.ok(202);
    refunded(&app, &paid, "paid").await;
    for proof in [paid.l402(), paid.payment()] {
        let refused = app.proving(route, &dear(route), &proof).await;
        let facts = route.refused(&refused, 402, "payment_ended");
        assert_eq!(facts["reason"], "returned");
        assert_ne!(Offer::of(route, &refused).hash(), paid.offer.hash());
    }
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn what_a_request_did_not_use_is_credited_to_a_session_however_little_it_is() {
    let (app, backend) = TestApp::scripted(Options::default());
    let route = Metered::Ai(Wire::Chat);
    let body = route.body("Why?", false);
    let session = app.ai_session(1_000).await;
    let paid = app.bought(route, &body).await;
    backend.say(Script::of(&["The sky."], Ends::Finished(Finish::Stop, Some(USED))));
    assert_eq!(app.proving(route, &body, &paid.l402()).await.status, 200);
    let due = paid.state(&app).await["refund"]["dueSats"].as_u64().unwrap();
    let to = |id: &str| json!({ "sessionId": id });
    let unknown = app.payment_refund(&paid, &to("01890000-0000-7000-8000-000000000000")).await;
    unknown.is_problem(400, "invalid_field");
    assert!(unknown.detail().starts_with("sessionId: unsuitable session: expected an active"), "{unknown:?}");
    for _ in 0..2 {
        app.payment_refund(&paid, &to(&session.id)).await.ok(202);
    }
    let payment = refunded(&app, &paid, "paid").await;
    assert_eq!((&payment["refund"]["amountSats"], payment["refund"].get("paymentHash")), (&json!(due), None));
    assert_eq!(session.balance().await, (1_000 + due) * 1_000);
    // The session spends it as it spends everything.
    backend.say(Script::of(&["The sky."], Ends::Finished(Finish::Stop, Some(USED))));
    let spent = app.price(&USED).await;
    assert_eq!(session.ask(Wire::Chat, &Wire::Chat.body("And the sea?", false)).await.status, 200);
    assert_eq!(session.balance().await, (1_000 + due) * 1_000 - spent);
}

#[tokio::test]
async fn a_payment_whose_request_failed_can_be_claimed() {
    let (app, backend) = TestApp::scripted(Options::default());
    let route = Metered::Ai(Wire::Messages);
    let paid = app.bought(route, &dear(route)).await;
    backend.say(Script::of(&["The "], Ends::CutOff));
    assert_eq!(app.proving(route, &dear(route), &paid.l402()).await.status, 502);
    let claimed = app.payment_refund(&paid, &json!({})).await.ok(202);
    assert_eq!(claimed["refund"]["dueSats"], paid.offer.sats());
}

#[tokio::test]
async fn nothing_is_claimed_while_the_request_runs() {
    let (app, backend) = TestApp::scripted(Options::default());
    let route = Metered::Ai(Wire::Chat);
    let paid = app.bought(route, &dear(route)).await;
    let (script, gate) = Script::of(&["The ", "sky."], Ends::Finished(Finish::Stop, Some(USED))).gated(1);
    backend.say(script);
    let body = dear(route);
    let proof = paid.l402();
    let answering = app.proving(route, &body, &proof);
    let claiming = async {
        gate.reached().await;
        let refused = app.payment_refund(&paid, &json!({})).await;
        let state = paid.state(&app).await;
        gate.open();
        refused.is_problem(409, "request_in_progress");
        assert_eq!(state["state"], "running", "{state}");
    };
    let (answer, ()) = tokio::join!(answering, claiming);
    assert_eq!(Wire::Chat.read(&answer, false).text, "The sky.");
}

#[tokio::test]
async fn only_the_whole_proof_of_a_payment_opens_it_and_the_preimage_alone_does_not() {
    let app = TestApp::new();
    let (one, two) = (
        app.bought(Metered::Ask, &Metered::Ask.body("one", false)).await,
        app.bought(Metered::Ask, &Metered::Ask.body("two", false)).await,
    );
    let (hash, preimage, token) = (one.offer.hash(), &one.preimage, &one.offer.token);
    let narrowed = Macaroon::parse(token)
        .unwrap()
        .narrow(&Caveat::expires(Timestamp::UNIX_EPOCH + Duration::from_hours(1_000_000)))
        .unwrap()
        .encode();
    for proof in [
        format!("L402 :{preimage}"),
        format!("L402 {preimage}"),
        format!("L402 {token}"),
        format!("L402 {token}:{hash}"),
        format!("L402 {token}:{}", two.preimage),
        format!("L402 {narrowed}:{preimage}"),
        format!("Payment {preimage}"),
        two.l402(),
        two.payment(),
    ] {
        app.payment(&hash, &proof).await.is_problem(401, "invalid_payment_proof");
        let request = app.request(Method::POST, &format!("/api/payments/{hash}/refund")).body("{}");
        app.send(request.header("Authorization", &proof)).await.is_problem(401, "invalid_payment_proof");
    }
    // What every node knows that has forwarded the payment.
    for bearer in [preimage.as_str(), token.as_str(), ""] {
        assert_eq!(app.payment(&hash, &format!("Bearer {bearer}")).await.status, 401, "{bearer}");
        let request = app.request(Method::POST, &format!("/api/payments/{hash}/refund")).body("{}");
        let refused = app.send(request.header("Authorization", format!("Bearer {bearer}"))).await;
        assert_eq!(refused.status, 401, "{bearer}");
    }
    app.get(&format!("/api/payments/{hash}")).await.is_problem(401, "invalid_payment_proof");
    app.payment("00", &one.l402()).await.is_problem(400, "invalid_field");
    assert_eq!(app.payment(&hash, &one.payment()).await.ok(200)["state"], "paid");
    assert_eq!(one.state(&app).await["state"], "paid");
}

#[tokio::test]
async fn a_payment_that_nobody_uses_expires_and_can_be_claimed() {
    let settings = tithe_engine::Settings {
        paid_request_idle: Duration::from_hours(1),
        session_payment_min: Sats::new(1).unwrap(),
        ..crate::app::settings()
    };
    let app = TestApp::with(Options { settings, manual_clock: true, ..Options::default() });
    let route = Metered::Ai(Wire::Chat);
    let paid = app.bought(route, &dear(route)).await;
    assert_eq!(paid.state(&app).await["state"], "paid");
    app.clock.advance(Duration::from_hours(2));
    let mut state = paid.state(&app).await;
    for _ in 0..400 {
        if state["state"] == "expired" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        state = paid.state(&app).await;
    }
    assert_eq!(
        (&state["state"], &state["refund"]["dueSats"]),
        (&json!("expired"), &json!(paid.offer.sats()))
    );
    let refused = app.proving(route, &dear(route), &paid.l402()).await;
    assert_eq!(route.refused(&refused, 402, "payment_ended")["reason"], "expired");
}
