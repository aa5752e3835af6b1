//! Requests that are paid for one by one: 402, payment, proof, answer.

use crate::app::{Answer, Ends, Metered, Offer, Options, Script, TestApp, Wire, install, key, receipt};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_chat::Finish;
use tithe_money::Sats;
use tithe_pricing::Usage;

const USED: Usage = Usage { input_tokens: 120, output_tokens: 40, ..Usage::ZERO };

/// An answer, however it was sent: its text, and what it cost in millisats.
fn delivered(route: Metered, answer: &Answer, stream: bool) -> (String, Value) {
    assert_eq!(answer.status, 200, "{route:?}: {}", answer.text);
    match route {
        Metered::Ask => {
            let body = if stream {
                let (_, last) = answer.text.trim_end().rsplit_once("event: done\ndata: ").unwrap();
                serde_json::from_str(last).unwrap()
            } else {
                answer.json()
            };
            (body["result"].to_string(), body["costMsats"].clone())
        }
        Metered::Ai(wire) => {
            let read = wire.read(answer, stream);
            (read.text.clone(), read.cost().into())
        }
        Metered::Embeddings => {
            let body = answer.json();
            (body["data"].to_string(), body["usage"]["cost_msats"].clone())
        }
    }
}

#[tokio::test]
async fn every_route_is_paid_for_by_one_invoice_and_the_proof_repeats_the_answer() {
    let (app, backend) = TestApp::scripted(Options::default());
    for route in Metered::ALL {
        for stream in [false, true].into_iter().filter(|stream| !stream || route.streams()) {
            let body = route.body("Why is the sky blue?", stream);
            let refused = app.ai_send(app.metered(route, &body, stream)).await;
            let offer = Offer::of(route, &refused);
            assert_eq!((refused.header("retry-after"), refused.header("payment-receipt")), ("", ""));
            let asked = backend.asked();
            let paid = offer.paid(&app).await;
            let prove = async |proof: &str| {
                app.ai_send(app.metered(route, &body, stream).header("Authorization", proof)).await
            };
            let first = prove(&paid.l402()).await;
            let answer = delivered(route, &first, stream);
            let bought = receipt(&first);
            assert_eq!(
                (&bought["method"], &bought["reference"], &bought["status"]),
                (&json!("lightning"), &json!(paid.offer.hash()), &json!("success"))
            );
            assert!(first.header("cache-control").contains("private"), "{first:?}");
            assert_eq!(first.header("idempotency-replayed"), "");
            let done = backend.asked();
            for proof in [paid.l402(), paid.l402().replacen("L402", "LSAT", 1), paid.payment()] {
                let again = prove(&proof).await;
                assert_eq!(delivered(route, &again, stream), answer, "{route:?} {stream}");
                assert_eq!(again.header("idempotency-replayed"), "true");
                let receipt = receipt(&again);
                for field in ["method", "reference", "status", "timestamp"] {
                    assert_eq!(receipt[field], bought[field], "{route:?}: {field}");
                }
            }
            assert!(done > asked && backend.asked() == done, "the work was done once");
            let state = paid.state(&app).await;
            assert_eq!(state["chargedMsats"], answer.1, "{route:?}: {state}");
            assert_eq!(state["state"], "used", "{state}");
        }
    }
}

#[tokio::test]
async fn a_credential_of_the_scheme_payment_buys_the_same() {
    let (app, backend) = TestApp::scripted(Options::default());
    for route in Metered::ALL {
        let body = route.body("Why is the sky blue?", false);
        let offer = app.offer(route, &body).await;
        let charge = offer.charge();
        assert_eq!(
            (&charge["amount"], &charge["currency"]),
            (&json!(offer.sats().to_string()), &json!("sat"))
        );
        let details = &charge["methodDetails"];
        assert_eq!(
            (&details["invoice"], &details["paymentHash"], &details["network"]),
            (&offer.body["invoice"]["paymentRequest"], &json!(offer.hash()), &json!("regtest"))
        );
        assert_eq!(
            (&offer.payment["method"], &offer.payment["intent"]),
            (&json!("lightning"), &json!("charge"))
        );
        let paid = offer.paid(&app).await;
        let first = app.proving(route, &body, &paid.payment()).await;
        let answer = delivered(route, &first, false);
        assert_eq!(receipt(&first)["challengeId"], paid.offer.payment["id"]);
        let asked = backend.asked();
        // Some clients send back no more than what identifies the challenge.
        let mut least = paid.offer.payment.clone();
        least.retain(|name, _| {
            ["id", "realm", "method", "intent", "request", "expires"].contains(&name.as_str())
        });
        for proof in
            [paid.payment(), paid.payment_of(&least), paid.payment().replacen("Payment", "payment", 1)]
        {
            let again = app.proving(route, &body, &proof).await;
            assert_eq!(delivered(route, &again, false), answer);
            assert_eq!(receipt(&again), receipt(&first));
        }
        let l402 = app.proving(route, &body, &paid.l402()).await;
        assert_eq!((delivered(route, &l402, false), backend.asked()), (answer, asked));
    }
}

#[tokio::test]
async fn sixty_four_proofs_at_once_are_one_request_with_one_answer() {
    let (app, backend) = TestApp::scripted(Options::default());
    for (route, stream) in
        [(Metered::Ask, false), (Metered::Ai(Wire::Chat), false), (Metered::Ai(Wire::Messages), true)]
    {
        let body = route.body("Why is the sky blue?", stream);
        let refused = app.ai_send(app.metered(route, &body, stream)).await;
        let paid = Offer::of(route, &refused).paid(&app).await;
        let asked = backend.asked();
        let send = |n: usize| {
            let proof = if n.is_multiple_of(2) { paid.l402() } else { paid.payment() };
            app.ai_send(app.metered(route, &body, stream).header("Authorization", proof))
        };
        let answers = futures_util::future::join_all((0..64).map(send)).await;
        let first = delivered(route, &answers[0], stream);
        for answer in &answers {
            assert_eq!(delivered(route, answer, stream), first);
            assert_eq!(receipt(answer)["reference"], paid.offer.hash());
        }
        // A plain request is evaluated first.
        assert!(backend.asked() - asked <= 2, "{} runs", backend.asked() - asked);
        let state = paid.state(&app).await;
        assert_eq!(state["chargedMsats"], first.1, "{state}");
    }
}

#[tokio::test]
async fn the_same_client_gets_the_same_offer_for_the_same_request() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let body = route.body("hello", false);
        let first = app.offer(route, &body).await;
        let again = app.offer(route, &body).await;
        assert_eq!((again.hash(), &again.token, &again.body), (first.hash(), &first.token, &first.body));
        let other = app.offer(route, &route.body("another", false)).await;
        assert_ne!(other.hash(), first.hash());
        // What was paid for is not offered again.
        let paid = first.paid(&app).await;
        assert_eq!(app.proving(route, &body, &paid.l402()).await.status, 200);
        assert_ne!(app.offer(route, &body).await.hash(), paid.offer.hash());
    }
}

#[tokio::test]
async fn clients_that_name_the_schemes_they_know_are_served_as_all_others() {
    let app = TestApp::new();
    let route = Metered::Ai(Wire::Chat);
    let body = route.body("hello", false);
    for (name, value) in [
        ("Accept-Authenticate", "L402"),
        ("Accept-Payment", "lightning/session, lightning/*;q=0.5"),
        ("Accept-Payment", ";;;"),
    ] {
        let asked = app.metered(route, &body, false).header(name, value);
        let paid = Offer::of(route, &app.ai_send(asked).await).paid(&app).await;
        let proof = app.metered(route, &body, false).header(name, value).header("Authorization", paid.l402());
        assert_eq!(app.ai_send(proof).await.status, 200, "{name}");
    }
}

/// As aperture's client sends it.
#[tokio::test]
async fn two_headers_that_say_the_same_are_one_proof() {
    let app = TestApp::new();
    for route in Metered::ALL {
        let body = route.body("hello", false);
        let paid = app.bought(route, &body).await;
        let former = paid.l402().replacen("L402", "LSAT", 1);
        let both = app.metered(route, &body, false).header("Authorization", former);
        assert_eq!(app.ai_send(both.header("Authorization", paid.l402())).await.status, 200);
    }
}

#[tokio::test]
async fn a_backend_that_fails_costs_nothing_and_the_same_proof_is_tried_again() {
    let (app, backend) = TestApp::scripted(Options::default());
    for wire in Wire::ALL {
        let route = Metered::Ai(wire);
        for (ends, status) in [(Ends::Failed, 502), (Ends::CutOff, 502), (Ends::Refused, 422)] {
            let body = route.body(&format!("hello {ends:?}"), false);
            let paid = app.bought(route, &body).await;
            backend.say(Script::of(&["The "], ends));
            let failed = app.proving(route, &body, &paid.l402()).await;
            wire.refused(&failed, status);
            assert_eq!(failed.header("payment-receipt"), "");
            assert!(failed.header("www-authenticate").is_empty(), "nobody is to pay twice: {failed:?}");
            let state = paid.state(&app).await;
            assert_eq!((&state["state"], &state["chargedMsats"]), (&json!("paid"), &json!(0)), "{state}");
            backend.say(Script::of(&["The sky."], Ends::Finished(Finish::Stop, Some(USED))));
            let answer = app.proving(route, &body, &paid.l402()).await;
            assert_eq!(wire.read(&answer, false).text, "The sky.");
            assert_eq!(answer.header("idempotency-replayed"), "");
            assert_eq!(paid.state(&app).await["chargedMsats"], app.price(&USED).await);
        }
    }
}

#[tokio::test]
async fn a_request_that_the_evaluation_rejects_is_charged_the_evaluation_and_ends_the_payment() {
    let app = TestApp::new();
    let body = Metered::Ask.body("[sim:reject]", false);
    let paid = app.bought(Metered::Ask, &body).await;
    let first = app.proving(Metered::Ask, &body, &paid.l402()).await;
    let facts = Metered::Ask.refused(&first, 422, "request_rejected");
    let again = app.proving(Metered::Ask, &body, &paid.payment()).await;
    assert_eq!((again.header("idempotency-replayed"), again.text.as_str()), ("true", first.text.as_str()));
    let state = paid.state(&app).await;
    assert_eq!((&state["state"], &state["chargedMsats"]), (&json!("used"), &facts["costMsats"]), "{state}");
    assert!(state["chargedMsats"].as_u64().unwrap() > 0 && state["refund"]["dueSats"].is_u64(), "{state}");
}

/// Whoever pays gets the answer: the work goes on, and the proof repeats it.
#[tokio::test]
async fn an_answer_whose_client_has_left_is_finished_and_waits_for_the_proof() {
    let (app, backend) = TestApp::scripted(Options::default());
    for wire in Wire::ALL {
        let route = Metered::Ai(wire);
        let body = route.body("hello", true);
        let paid = Offer::of(route, &app.ai_send(app.metered(route, &body, true)).await).paid(&app).await;
        let pieces: Vec<String> = (0..50).map(|n| format!("piece{n} ")).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let (script, gate) = Script::of(&pieces, Ends::Finished(Finish::Stop, Some(USED))).gated(4);
        backend.say(script);
        let asked = backend.asked();
        let proving = || app.metered(route, &body, true).header("Authorization", paid.l402());
        let mut stream = proving().send().await.unwrap();
        gate.reached().await;
        stream.chunk().await.unwrap();
        drop(stream);
        gate.open();
        let again = app.ai_send(proving()).await;
        let read = wire.read(&again, true);
        assert_eq!((read.text.as_str(), read.finish.as_str()), (&*pieces.concat(), "stop"));
        assert_eq!(backend.asked(), asked + 1);
        assert_eq!(paid.state(&app).await["chargedMsats"], app.price(&USED).await);
    }
}

#[tokio::test]
async fn installs_without_credits_and_identities_without_trust_pay_for_one_request() {
    let mut options = Options::default();
    options.settings.credits.plans.core.requests = Some(0);
    options.settings.rules.free_tier.budgets.new = Sats::ZERO;
    let app = TestApp::with(options);
    let token = app.login(&key(1)).await;
    for route in Metered::ALL {
        let body = route.body("hello", false);
        for (n, code) in ["out_of_credits", "payment_required", "out_of_credits"].into_iter().enumerate() {
            // No plan includes embeddings.
            if route == Metered::Embeddings && n != 1 {
                continue;
            }
            let asking = || {
                let request = app.metered(route, &body, false);
                let request = if n == 1 { request } else { request.header("X-Install-Id", install(1)) };
                if n == 0 { request } else { request.header("X-Nostr-Token", &token) }
            };
            let refused = app.ai_send(asking()).await;
            route.refused(&refused, 402, code);
            let paid = Offer::of(route, &refused).paid(&app).await;
            // Without the payer, it is another request.
            let other = app.proving(route, &body, &paid.l402()).await;
            route.refused(&other, 402, "proof_for_another_request");
            assert!(route.message(&other).contains("payer"), "{}", other.text);
            let answer = app.ai_send(asking().header("Authorization", paid.l402())).await;
            delivered(route, &answer, false);
        }
    }
    assert_eq!(app.credits_taken(&install(1)).await, (0, 0));
}

#[tokio::test]
async fn a_session_that_lacks_balance_is_offered_a_top_up_and_no_challenge() {
    let app = TestApp::new();
    let session = app.ai_session(100).await;
    for wire in Wire::ALL {
        let refused = session.ask(wire, &wire.body(&"word ".repeat(50_000), false)).await;
        let facts = wire.refused(&refused, 402)["metadata"].clone();
        assert_eq!((facts.get("offer"), refused.header("www-authenticate")), (None, ""), "{facts}");
        assert!(facts["topUp"]["invoice"].is_object(), "{facts}");
    }
}

#[tokio::test]
async fn an_unpaid_offer_is_worth_nothing_and_a_late_payment_is() {
    let settings =
        tithe_engine::Settings { invoice_expiry: Duration::from_mins(10), ..crate::app::settings() };
    let app = TestApp::with(Options { settings, manual_clock: true, ..Options::default() });
    let route = Metered::Ai(Wire::Chat);
    let body = route.body("hello", false);
    let offer = app.offer(route, &body).await;
    let wrong = format!("L402 {}:{}", offer.token, "00".repeat(32));
    let refused = app.proving(route, &body, &wrong).await;
    route.refused(&refused, 401, "invalid_payment_proof");
    let paid = offer.paid(&app).await;
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(app.proving(route, &body, &paid.l402()).await.status, 200);
}
