//! Proofs of payment that are wrong, or for another request: refused with the reason, nothing charged, nothing served.

use crate::app::{Ends, Metered, Offer, Options, Paid, Script, TestApp, Wire, install, key};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_chat::Finish;
use tithe_engine::Settings;
use tithe_paywall::{Caveat, Macaroon};
use tithe_wallet_sim::{Fault, Operation};

/// The payment has paid for nothing yet.
async fn untouched(app: &TestApp, paid: &Paid) {
    let state = paid.state(app).await;
    assert_eq!((&state["state"], &state["chargedMsats"]), (&json!("paid"), &json!(0)), "{state}");
}

/// Proofs that are wrong in themselves, and what the problem says of each.
fn wrong_proofs(app: &TestApp, paid: &Paid, other: &Paid) -> Vec<(String, &'static str)> {
    let Paid { offer, preimage } = paid;
    let token = &offer.token;
    let narrowed = |caveat: &Caveat| Macaroon::parse(token).unwrap().narrow(caveat).unwrap().encode();
    let expired = narrowed(&Caveat::expires(app.now() - Duration::from_secs(1)));
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).unwrap()
    };
    let foreign = {
        let identifier = Macaroon::parse(token).unwrap().identifier().to_vec();
        let key = tithe_paywall::RootKey::derive(&[9; 32], &identifier);
        Macaroon::mint(&key, "tithe", &identifier).unwrap().encode()
    };
    let with = |name: &str, value: &str| {
        let mut challenge = offer.payment.clone();
        challenge.insert(name.to_owned(), value.into());
        paid.payment_of(&challenge)
    };
    let without = |name: &str| {
        let mut challenge = offer.payment.clone();
        challenge.remove(name);
        paid.payment_of(&challenge)
    };
    let swapped = Paid { offer: offer.clone(), preimage: other.preimage.clone() };
    let mut wrong = vec![
        (format!("L402 {token}"), "preimage"),
        (format!("L402 {token}:"), "preimage"),
        (format!("L402 {token}:{}", &preimage[1..]), "preimage"),
        (format!("L402 {token}:{preimage}00"), "preimage"),
        (format!("L402 {token}:{}", flipped(preimage, 10)), "preimage"),
        (swapped.l402(), "preimage"),
        (format!("L402 {token}:{}", offer.hash()), "preimage"),
        (format!("L402 :{preimage}"), "macaroon"),
        ("L402".to_owned(), "preimage"),
        (format!("L402 {}:{preimage}", &token[..token.len() / 2]), "macaroon"),
        (format!("L402 {}:{preimage}", flipped(token, token.len() - 10)), "macaroon"),
        (format!("L402 {}:{preimage}", flipped(token, 40)), "macaroon"),
        (format!("L402 {foreign}:{preimage}"), "macaroon"),
        (format!("L402 {expired}:{preimage}"), "expired"),
        (format!("L402 {token},{token}:{preimage}"), "one"),
        (format!("LSAT {}:{preimage}", flipped(token, token.len() - 10)), "macaroon"),
        ("Payment".to_owned(), "base64url"),
        ("Payment !!!".to_owned(), "base64url"),
        ("Payment e30".to_owned(), "challenge"),
        (format!("Payment method=\"lightning\", preimage=\"{preimage}\""), "base64url"),
        (swapped.payment(), "preimage"),
    ];
    for (name, value) in [
        ("id", "AAAA"),
        ("realm", "elsewhere"),
        ("method", "tempo"),
        ("intent", "session"),
        ("expires", "2099-01-01T00:00:00Z"),
        ("digest", "sha-256=:AAAA:"),
        ("request", other.offer.payment["request"].as_str().unwrap()),
        ("opaque", "e30"),
    ] {
        wrong.push((with(name, value), ""));
    }
    for name in ["id", "realm", "method", "intent", "request"] {
        wrong.push((without(name), ""));
    }
    wrong
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_says_which_part_is_wrong() {
    let (app, backend) = TestApp::scripted(Options::default());
    let other = app.bought(Metered::Ask, &Metered::Ask.body("another", false)).await;
    for route in Metered::ALL {
        let body = route.body("hello", false);
        let paid = app.bought(route, &body).await;
        for (proof, part) in wrong_proofs(&app, &paid, &other) {
            let refused = app.proving(route, &body, &proof).await;
            let facts = route.refused(&refused, 401, "invalid_payment_proof");
            assert!(route.message(&refused).contains(part), "{proof}: {part:?} in {}", refused.text);
            // Whoever has paid is not to pay again because of a slip.
            assert_eq!((facts.get("offer"), refused.header("www-authenticate")), (None, "Bearer"));
            assert!(!refused.text.contains(&paid.preimage), "{}", refused.text);
        }
        untouched(&app, &paid).await;
        let install = app.metered(route, &body, false).header("X-Install-Id", install(1));
        let beside = app.ai_send(install.header("Authorization", "L402 x:y")).await;
        route.refused(&beside, 401, "invalid_payment_proof");
        assert_eq!(app.proving(route, &body, &paid.l402()).await.status, 200, "the right one still buys");
    }
    assert_eq!(app.credits_taken(&install(1)).await, (0, 0));
    assert!(backend.asked() <= 6, "only what was paid for was done");
}

#[tokio::test]
async fn a_proof_for_another_request_is_refused_and_offered_an_invoice_of_its_own() {
    let (app, backend) = TestApp::scripted(Options::default());
    for route in Metered::ALL {
        let body = route.body("hello", false);
        let paid = app.bought(route, &body).await;
        // A challenge of the scheme `Payment` does not say what it is for; the token of L402 does.
        for (proof, body_differs, payer_differs) in [
            (paid.l402(), "the body differs", "the payer differs"),
            (paid.payment(), "the payer or the body differs", "the payer or the body differs"),
        ] {
            let refused = app.proving(route, &route.body("another", false), &proof).await;
            route.refused(&refused, 402, "proof_for_another_request");
            assert!(route.message(&refused).contains(body_differs), "{}", refused.text);
            assert_ne!(Offer::of(route, &refused).hash(), paid.offer.hash());
            let request = app.metered(route, &body, false).header("X-Install-Id", install(1));
            let refused = app.ai_send(request.header("Authorization", &proof)).await;
            route.refused(&refused, 402, "proof_for_another_request");
            assert!(route.message(&refused).contains(payer_differs), "{}", refused.text);
            let request = app.request(Method::POST, &format!("{}?a=b", route.path())).body(body.to_string());
            let refused = app.ai_send(request.header("Authorization", &proof)).await;
            route.refused(&refused, 402, "proof_for_another_request");
            // White space is another body: the proof is for these bytes.
            let spaced = app.request(Method::POST, route.path()).body(format!("{body} "));
            let refused = app.ai_send(spaced.header("Authorization", &proof)).await;
            route.refused(&refused, 402, "proof_for_another_request");
        }
        untouched(&app, &paid).await;
    }
    // The same body on another route.
    let body = Wire::Chat.body("hello", false);
    let paid = app.bought(Metered::Ai(Wire::Chat), &body).await;
    let messages = Metered::Ai(Wire::Messages);
    let refused = app.proving(messages, &body, &paid.l402()).await;
    messages.refused(&refused, 402, "proof_for_another_request");
    assert!(messages.message(&refused).contains("path differs"), "{}", refused.text);
    // A stream and a whole answer are different requests in the AI API, because their bodies differ.
    let refused = app.proving(Metered::Ai(Wire::Chat), &Wire::Chat.body("hello", true), &paid.l402()).await;
    Metered::Ai(Wire::Chat).refused(&refused, 402, "proof_for_another_request");
    untouched(&app, &paid).await;
    assert_eq!(backend.asked(), 0);
}

#[tokio::test]
async fn another_method_is_refused_as_ever() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let paid = app.bought(route, &route.body("hello", false)).await;
        let request = app.request(Method::GET, route.path()).header("Authorization", paid.l402());
        assert_eq!(app.ai_send(request).await.status, 405);
        untouched(&app, &paid).await;
    }
}

#[tokio::test]
async fn several_proofs_or_a_proof_and_a_session_are_refused() {
    let app = TestApp::new();
    let session = app.ai_session(1_000).await;
    for route in Metered::ALL {
        let body = route.body("hello", false);
        let (one, two) = (app.bought(route, &body).await, app.bought(route, &body).await);
        for (first, second) in [
            (one.l402(), two.l402()),
            (one.payment(), two.payment()),
            (one.l402(), two.payment()),
            (one.l402(), one.payment()),
            (one.l402(), format!("Bearer {}", session.macaroon)),
            (format!("L402 {}:{}", session.macaroon, "00".repeat(32)), one.payment()),
            (one.l402(), "L402 x:y".to_owned()),
        ] {
            let request = app.metered(route, &body, false).header("Authorization", first);
            let refused = app.ai_send(request.header("Authorization", second)).await;
            route.refused(&refused, 401, "invalid_payment_proof");
            assert!(
                route.message(&refused).contains("several") || route.message(&refused).contains("invalid")
            );
        }
        untouched(&app, &one).await;
        untouched(&app, &two).await;
    }
    assert_eq!(session.balance().await, 1_000_000);
}

#[tokio::test]
async fn the_macaroon_of_a_session_with_a_preimage_is_still_a_sessions() {
    let app = TestApp::new();
    let session = app.ai_session(1_000).await;
    for route in Metered::ALL {
        let (body, before) = (route.body("hello", false), session.balance().await);
        let proof = format!("{}:{}", session.macaroon, "00".repeat(32));
        let both = app.metered(route, &body, false).header("Authorization", format!("LSAT {proof}"));
        let answer = app.ai_send(both.header("Authorization", format!("L402 {proof}"))).await;
        assert_eq!((answer.status, answer.header("payment-receipt")), (200, ""), "{}", answer.text);
        assert!(session.balance().await < before);
    }
}

#[tokio::test]
async fn other_credentials_beside_a_proof_must_be_valid() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let body = route.body("hello", false);
        let paid = app.bought(route, &body).await;
        let request = || app.metered(route, &body, false).header("Authorization", paid.l402());
        for (name, value, status) in
            [("X-Nostr-Token", "forged", 401), ("X-Install-Id", "1", 400), ("Authorization", "Nostr x", 401)]
        {
            assert_eq!(app.ai_send(request().header(name, value)).await.status, status, "{name}");
        }
        untouched(&app, &paid).await;
    }
}

#[tokio::test]
async fn a_proof_opens_nothing_else() {
    let app = TestApp::new();
    let route = Metered::Ai(Wire::Chat);
    let paid = app.bought(route, &route.body("hello", false)).await;
    for path in ["/v1/credits", "/v1/key", "/api/identity/me"] {
        for proof in [paid.l402(), paid.payment(), format!("Bearer {}", paid.offer.token)] {
            let request = app.request(Method::GET, path).header("Authorization", proof);
            assert_eq!(app.ai_send(request).await.status, 401, "{path}");
        }
    }
    let body = route.body("hello", false);
    let bearer =
        app.metered(route, &body, false).header("Authorization", format!("Bearer {}", paid.offer.token));
    assert_eq!(app.ai_send(bearer).await.status, 401);
    untouched(&app, &paid).await;
}

#[tokio::test]
async fn too_many_unpaid_invoices_or_no_wallet_leave_a_402_that_says_why_there_is_no_offer() {
    let settings = Settings {
        // Offers fill at most half of it, and deposits a quarter.
        max_unpaid_per_origin: 8,
        wallet_timeout: Duration::from_millis(30),
        ..crate::app::settings()
    };
    let app = TestApp::with(Options { settings, ..Options::default() });
    for route in Metered::ALL {
        let body = |n: u32| route.body(&format!("hello {n}"), false);
        app.wallet.faults().queue(Operation::InvoiceCreate, Fault::Fail);
        let refused = app.ai_send(app.metered(route, &body(0), false)).await;
        let facts = route.refused(&refused, 402, "payment_required");
        assert_eq!(facts["offer"].as_object().unwrap().len(), 1, "{facts}");
        assert!(facts["offer"]["unavailable"].as_str().unwrap().contains("wallet"), "{facts}");
        assert_eq!((refused.header("www-authenticate"), refused.header("cache-control")), ("", "no-store"));
    }
    let route = Metered::Ask;
    let offers =
        [app.offer(route, &route.body("1", false)).await, app.offer(route, &route.body("2", false)).await];
    let last = app.ai_send(app.metered(route, &route.body("3", false), false)).await;
    // There is no room for a deposit any more; the challenge is good for a session that is open.
    assert_eq!(crate::app::Deposit::of(&last).request.get("depositInvoice"), None, "{last:?}");
    let refused = app.ai_send(app.metered(route, &route.body("4", false), false)).await;
    let facts = route.refused(&refused, 402, "payment_required");
    assert!(facts["offer"]["unavailable"].as_str().unwrap().contains("too many unpaid"), "{facts}");
    // What is offered already is offered on.
    assert_eq!(app.offer(route, &route.body("2", false)).await.hash(), offers[1].hash());
    app.pay(&offers[0].hash()).await;
    app.offer(route, &route.body("4", false)).await;
}

#[tokio::test]
async fn nothing_is_offered_for_a_request_that_could_not_be_served() {
    let (app, _backend) = TestApp::scripted(Options::default());
    let before = app.rows().await.get("invoices").cloned();
    for route in Metered::ALL {
        let mut unknown = route.body("hello", false);
        unknown["model"] = "nothing".into();
        let refused = app.ai_send(app.metered(route, &unknown, false)).await;
        assert!(matches!(refused.status, 400 | 404), "{}", refused.text);
        let refused = app.ai_send(app.request(Method::POST, route.path()).body("{")).await;
        assert_eq!(refused.status, 400);
    }
    app.draining.cancel();
    for route in Metered::ALL {
        let refused = app.ai_send(app.metered(route, &route.body("hello", false), false)).await;
        route.refused(&refused, 503, "shutting_down");
    }
    assert_eq!(app.rows().await.get("invoices"), before.as_ref());
}

#[tokio::test]
async fn whatever_is_refused_again_and_again_is_slowed_down_and_a_proof_is_not() {
    let (app, backend) = TestApp::scripted(Options::default());
    let route = Metered::Ai(Wire::Chat);
    let body = route.body("hello", false);
    let mut offer: Option<Offer> = None;
    for _ in 0..5 {
        offer = Some(app.offer(route, &body).await);
    }
    let paid = offer.unwrap().paid(&app).await;
    backend.say(Script::of(&["The sky."], Ends::Finished(Finish::Stop, None)));
    let answer = app.proving(route, &body, &paid.l402()).await;
    assert_eq!(Wire::Chat.read(&answer, false).text, "The sky.");
}

#[tokio::test]
async fn no_debris_is_a_server_error() {
    let app = TestApp::new();
    let route = Metered::Ask;
    let body = route.body("hello", false);
    let deep = format!("Payment {}", "W1tb".repeat(2_000));
    let long = format!("L402 {}:{}", "A".repeat(5_000), "0".repeat(64));
    for proof in [
        &*deep,
        &*long,
        "Payment ",
        "payment =",
        "L402 :",
        "l402 ::::",
        "LSAT ,:,",
        "Payment AB",
        "L402 AgE:AgE",
    ] {
        let refused = app.proving(route, &body, proof).await;
        route.refused(&refused, 401, "invalid_payment_proof");
    }
    let latin = reqwest::header::HeaderValue::from_bytes(b"Payment \xe9").unwrap();
    let refused = app.ai_send(app.metered(route, &body, false).header("Authorization", latin)).await;
    route.refused(&refused, 401, "invalid_payment_proof");
    let _: Value = refused.json();
}

#[tokio::test]
async fn a_payment_is_bound_to_the_headers_that_anthropics_api_has() {
    let app = TestApp::new();
    let route = Metered::Ai(Wire::Messages);
    let body = route.body("hello", false);
    let paid = app.bought(route, &body).await;
    for proof in [paid.l402(), paid.payment()] {
        let dearer = app.metered(route, &body, false).header("anthropic-beta", "context-1m-2025-08-07");
        let refused = app.ai_send(dearer.header("Authorization", &proof)).await;
        route.refused(&refused, 402, "proof_for_another_request");
        assert_ne!(Offer::of(route, &refused).hash(), paid.offer.hash());
    }
    untouched(&app, &paid).await;
    assert_eq!(app.proving(route, &body, &paid.l402()).await.status, 200);
}

#[tokio::test]
async fn the_offer_of_a_signed_request_is_paid_without_the_signature_that_the_proof_replaces() {
    let app = TestApp::new();
    let (route, body) = (Metered::Ask, Metered::Ask.body("hello", false));
    let text = body.to_string();
    let signature = app.signature(&key(7), "POST", route.path(), &text);
    let signed = app.request(Method::POST, route.path()).body(text).header("Authorization", &signature);
    let paid = Offer::of(route, &app.ai_send(signed).await).paid(&app).await;
    assert_eq!(app.proving(route, &body, &paid.l402()).await.status, 200);
}
