//! Sessions of the scheme `Payment`: opened, used, topped up and closed on the metered routes.

use crate::app::{Deposit, Metered, Offer, Options, TestApp, Wire, receipt};
use reqwest::Method;
use serde_json::{Value, json};

const CHAT: Metered = Metered::Ai(Wire::Chat);

#[tokio::test]
async fn the_fourth_challenge_is_a_deposit() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let answer = app.ai_send(app.metered(route, &route.body("hello", false), false)).await;
        let offer = Offer::of(route, &answer);
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 4, "{answer:?}");
        let deposit = Deposit::of(&answer);
        assert_ne!(deposit.hash(), offer.hash());
        let units = json!({
            "amount": offer.sats().to_string(),
            "currency": "sat",
            "depositAmount": deposit.sats().to_string(),
            "depositInvoice": deposit.request["depositInvoice"],
            "description": deposit.request["description"],
            "idleTimeout": "3600",
            "paymentHash": deposit.hash(),
            "unitType": "request",
        });
        assert_eq!(deposit.request, units);
        assert!(deposit.sats() >= 20 * offer.sats() || deposit.sats() >= 1_000, "{deposit:?}");
    }
}

#[tokio::test]
async fn accept_payment_chooses_and_orders_the_challenges_of_the_scheme() {
    let app = TestApp::new();
    let body = CHAT.body("hello", false);
    for (accepts, expected) in [
        (None, &["charge", "session"][..]),
        (Some("lightning/charge"), &["charge"]),
        (Some("lightning/session"), &["session"]),
        (Some("lightning/charge;q=0.1, lightning/*"), &["session", "charge"]),
        (Some("tempo/charge, lightning/*;q=0.5, */session;q=0"), &["charge", "session"]),
        // What is not understood, or leaves nothing, is ignored.
        (Some("tempo/charge"), &["charge", "session"]),
        (Some("???"), &["charge", "session"]),
    ] {
        let request = app.metered(CHAT, &body, false);
        let request =
            accepts.iter().fold(request, |request, accepts| request.header("Accept-Payment", *accepts));
        let answer = app.ai_send(request).await;
        let lines: Vec<&str> =
            answer.headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect();
        assert!(lines[0].starts_with("L402 ") && lines[1].starts_with("L402 "), "{lines:?}");
        let intents: Vec<String> = lines[2..]
            .iter()
            .flat_map(|line| tithe_paywall::payment::Challenge::parse_all(line))
            .map(|challenge| challenge.intent)
            .collect();
        assert_eq!(intents, expected, "{accepts:?}");
    }
}

#[tokio::test]
async fn a_session_is_opened_used_topped_up_and_closed_on_every_route() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let session = app.payment_session(route, &route.body("one", false)).await;
        let opened = app.proving(route, &route.body("one", false), &session.open()).await;
        assert_eq!(opened.status, 200, "{route:?}: {}", opened.text);
        let bought = receipt(&opened);
        assert_eq!(bought["reference"], session.deposit.hash());
        assert_eq!(bought["challengeId"], session.deposit.challenge.id);
        assert!(opened.header("cache-control").contains("private"), "{opened:?}");
        // As mppx does: first without a credential, then as a bearer.
        let body = route.body("two", false);
        let by = app.deposit(route, &body).await;
        let answer = app.proving(route, &body, &session.bearer(&by)).await;
        assert_eq!(answer.status, 200, "{route:?}: {}", answer.text);
        let again = app.proving(route, &body, &session.bearer(&by)).await;
        assert_eq!((again.text.clone(), again.header("idempotency-replayed")), (answer.text.clone(), "true"));
        // The same request with another challenge is another request.
        let other = app.deposit(route, &body).await;
        let another = app.proving(route, &body, &session.bearer(&other)).await;
        assert_eq!((another.status, another.header("idempotency-replayed")), (200, ""), "{another:?}");
        // By GET, without a body.
        let more = app.deposit_by_get(route).await;
        let preimage = more.pay(&app).await;
        let top_up = session.top_up(&more, preimage);
        for _ in 0..2 {
            let topped = app.ai_send(app.getting(route, &top_up)).await;
            assert_eq!((topped.status, topped.text.as_str()), (200, r#"{"status":"ok"}"#));
            assert_eq!(receipt(&topped)["reference"], session.deposit.hash());
        }
        let by = app.deposit_by_get(route).await;
        let closed = app.ai_send(app.getting(route, &session.close(&by))).await;
        let body = closed.ok(200);
        assert_eq!(
            (&body["status"], &body["refundStatus"]),
            (&json!("closed"), &json!("succeeded")),
            "{body}"
        );
        let refund = body["refundSats"].as_u64().unwrap();
        let paid_in = session.deposit.sats() + more.sats();
        assert!(refund > paid_in / 2 && refund < paid_in, "{refund} of {paid_in}");
        let told = receipt(&closed);
        assert_eq!((&told["refundSats"], &told["refundStatus"]), (&body["refundSats"], &json!("succeeded")));
        assert_eq!(app.ai_send(app.getting(route, &session.close(&by))).await.ok(200), body, "closed twice");
        let by = app.deposit(route, &route.body("three", false)).await;
        let refused = app.proving(route, &route.body("three", false), &session.bearer(&by)).await;
        let facts = route.refused(&refused, 402, "payment_ended");
        assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/session-closed");
        // A top-up that comes too late is refunded with the rest.
        let late = app.deposit_by_get(route).await;
        let preimage = late.pay(&app).await;
        let refused = app.ai_send(app.getting(route, &session.top_up(&late, preimage))).await;
        route.refused(&refused, 402, "payment_ended");
    }
}

#[tokio::test]
async fn top_up_and_close_are_no_requests_whatever_the_body() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.opened_session(CHAT, &CHAT.body("hello", false)).await;
    let asked = backend.asked();
    let more = app.deposit_by_get(CHAT).await;
    let preimage = more.pay(&app).await;
    for body in ["", "not JSON", "{\"model\":1}"] {
        let request = app.request(Method::POST, CHAT.path()).body(body);
        let topped = app.ai_send(request.header("Authorization", session.top_up(&more, preimage))).await;
        assert_eq!((topped.status, topped.text.as_str()), (200, r#"{"status":"ok"}"#), "{body}");
    }
    let request = app.request(Method::POST, CHAT.path()).body("x");
    let closed = app.ai_send(request.header("Authorization", session.close(&more))).await;
    assert_eq!(closed.ok(200)["status"], "closed");
    assert_eq!(backend.asked(), asked);
}

#[tokio::test]
async fn the_same_credential_sixty_four_times_at_once_is_one_request() {
    let (app, backend) = TestApp::scripted(Options::default());
    let first = app.opened_session(CHAT, &CHAT.body("hello", false)).await;
    let body = CHAT.body("again", false);
    let by = app.deposit(CHAT, &body).await;
    let asked = backend.asked();
    let bearer = first.bearer(&by);
    let answers = futures_util::future::join_all((0..64).map(|_| app.proving(CHAT, &body, &bearer))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(answers.iter().all(|answer| answer.text == answers[0].text));
    assert_eq!(backend.asked(), asked + 1);
    // Opening too.
    let second = app.payment_session(CHAT, &body).await;
    let open = second.open();
    let answers = futures_util::future::join_all((0..64).map(|_| app.proving(CHAT, &body, &open))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(backend.asked(), asked + 2);
}

#[tokio::test]
async fn get_and_head_without_a_credential_get_the_challenge_of_a_session() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let deposit = app.deposit_by_get(route).await;
        assert_eq!(deposit.request["amount"], "1");
        let head = app.ai_send(app.request(Method::HEAD, route.path())).await;
        assert_eq!(Deposit::of(&head).request["amount"], "1");
        let put = app.ai_send(app.request(Method::PUT, route.path())).await;
        assert_eq!((put.status, put.header("allow")), (405, "GET, HEAD, POST"), "{put:?}");
        let session = app.payment_session(route, &route.body("hello", false)).await;
        for credential in [session.open(), session.bearer(&deposit), "Bearer x".to_owned()] {
            let refused = app.ai_send(app.getting(route, &credential)).await;
            assert_eq!(refused.status, 405, "{route:?}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_deposit_is_claimed_with_the_credential_that_opens_it_and_no_other() {
    let app = TestApp::new();
    let body = CHAT.body("hello", false);
    let session = app.payment_session(CHAT, &body).await;
    let (hash, by) = (session.deposit.hash(), app.deposit_by_get(CHAT).await);
    for credential in [session.bearer(&by), session.close(&by)] {
        app.payment(&hash, &credential).await.is_problem(401, "invalid_payment_proof");
    }
    // A server that does not know it.
    let other = TestApp::new();
    other.payment(&hash, &session.open()).await.is_problem(404, "not_found");
    let claim = other.request(Method::POST, &format!("/api/payments/{hash}/refund")).body("{}");
    other.send(claim.header("Authorization", session.open())).await.is_problem(404, "not_found");
    let view = app.payment(&hash, &session.open()).await.ok(200);
    assert_eq!(
        (&view["state"], &view["amountSats"]),
        (&json!("paid"), &json!(session.deposit.sats())),
        "{view}"
    );
    let claim = app.request(Method::POST, &format!("/api/payments/{hash}/refund")).body("{}");
    let claimed = app.send(claim.header("Authorization", session.open())).await.ok(202);
    assert_eq!(claimed["refund"]["dueSats"], session.deposit.sats(), "{claimed}");
    let refused = app.proving(CHAT, &body, &session.open()).await;
    let facts: Value = CHAT.refused(&refused, 402, "payment_ended");
    assert!(facts["problem"].is_string(), "{facts}");
}
