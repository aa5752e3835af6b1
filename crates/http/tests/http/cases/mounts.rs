//! Mounted routes: calls of a service of the operator's, for whoever pays.

use crate::app::{Answer, Metered, Offer, Options, Paid, Says, TestApp, TestUpstream, mount, receipt};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use tithe_money::{Msats, Sats};
use tithe_pricing::CallPrice;

/// Problems of these routes look like those of `/api/ask`.
const PLAIN: Metered = Metered::Ask;

fn sats(n: u64) -> CallPrice {
    CallPrice::Fixed(Sats::new(n).unwrap())
}

/// A server that sells calls of the service at this address for 7 sats at `/paid/weather`, and for 1 sat at `/paid/files/*`.
fn app(address: SocketAddr, options: Options) -> TestApp {
    let mounts = vec![mount("/paid/weather", address, sats(7)), mount("/paid/files/*", address, sats(1))];
    TestApp::with(Options { mounts, ..options })
}

async fn started(says: Says) -> (TestApp, TestUpstream) {
    let upstream = TestUpstream::start(says).await;
    (app(upstream.address, Options::default()), upstream)
}

fn request(app: &TestApp, body: &str) -> RequestBuilder {
    app.request(Method::POST, "/paid/weather?city=Rome").body(body.to_owned())
}

async fn offer(app: &TestApp, body: &str) -> Offer {
    Offer::of(PLAIN, &app.send(request(app, body)).await)
}

async fn prove(app: &TestApp, body: &str, proof: &str) -> Answer {
    app.ai_send(request(app, body).header("Authorization", proof)).await
}

async fn claimable(app: &TestApp, paid: &Paid) -> Value {
    paid.state(app).await["refund"]["payableSats"].clone()
}

#[tokio::test]
async fn a_call_is_paid_for_by_one_invoice_and_the_proof_repeats_the_answer() {
    let binary = [0, 159, 146, 150, 10];
    for (headers, body) in [
        (
            &[("Content-Type", "application/json"), ("Set-Cookie", "a=b"), ("X-Powered-By", "x")][..],
            &b"{\"sun\":true}"[..],
        ),
        (&[("Content-Type", "image/png"), ("Content-Language", "de")], &binary),
        (&[("Content-Type", "text/plain; charset=utf-8")], b""),
    ] {
        let (app, upstream) = started(Says::whole(201, headers, body)).await;
        for payment in [false, true] {
            let offered = offer(&app, "{\"day\":1}").await;
            assert_eq!(offered.sats(), 7);
            let before = upstream.calls().len();
            let paid = offered.paid(&app).await;
            let (proof, other) = (paid.l402(), paid.payment());
            let (proof, other) = if payment { (other, proof) } else { (proof, other) };
            let sent = request(&app, "{\"day\":1}").header("Authorization", &proof);
            let first = sent.send().await.unwrap();
            assert_eq!(first.status(), 201);
            assert_eq!(first.headers()["content-type"], headers[0].1);
            assert!(
                first.headers().get("set-cookie").is_none() && first.headers().get("x-powered-by").is_none()
            );
            assert_eq!(first.headers()["x-tithe-cost-msats"], "7000");
            assert_eq!(first.bytes().await.unwrap(), body);
            for proof in [&proof, &other] {
                let again = request(&app, "{\"day\":1}").header("Authorization", proof).send().await.unwrap();
                assert_eq!(
                    (again.status().as_u16(), &again.headers()["idempotency-replayed"]),
                    (201, &"true".parse().unwrap())
                );
                assert_eq!(again.headers()["content-type"], headers[0].1);
                assert_eq!(again.bytes().await.unwrap(), body);
            }
            assert_eq!(upstream.calls().len(), before + 1, "the service was called once");
            let state = paid.state(&app).await;
            assert_eq!((&state["state"], &state["chargedMsats"]), (&json!("used"), &json!(7000)), "{state}");
            // The refund is nothing.
            assert_eq!(state["refund"]["amountSats"], 0, "{state}");
        }
    }
}

#[tokio::test]
async fn what_belongs_to_the_request_is_passed_on_and_nothing_else() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let asked = || request(&app, "the body").header("X-Units", "passed on");
    let paid = Offer::of(PLAIN, &app.send(asked()).await).paid(&app).await;
    // What the operator passes on is a part of the request that was paid for.
    for other in [request(&app, "the body"), request(&app, "the body").header("X-Units", "another")] {
        let refused = app.ai_send(other.header("Authorization", paid.l402())).await;
        refused.is_problem(402, "proof_for_another_request");
        assert!(refused.detail().contains("a header that is passed on differs"), "{}", refused.detail());
    }
    let sent = asked().header("Authorization", paid.l402());
    let sent = sent
        .header("Content-Type", "text/x-own")
        .header("X-Custom", "secret")
        .header("Cookie", "session=secret")
        .header("X-Tithe-Something", "secret")
        .header("X-Forwarded-For", "192.0.2.7")
        .header("X-Operator-Key", "forged");
    assert_eq!(app.ai_send(sent).await.status, 200);
    let calls = upstream.calls();
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert!(call.starts_with("POST /service?city=Rome HTTP/1.1\r\n"), "{call}");
    assert!(call.ends_with("\r\n\r\nthe body"), "{call}");
    for header in ["content-type: text/x-own", "x-units: passed on", "x-operator-key: operators-secret"] {
        assert_eq!(call.to_lowercase().matches(header).count(), 1, "{header}: {call}");
    }
    for other in ["secret\r", "forged", "l402", "192.0.2.7", &paid.preimage] {
        let found = call.to_lowercase().matches(other).count();
        assert_eq!(found, usize::from(other == "secret\r"), "{other}: {call}");
    }
}

#[tokio::test]
async fn a_tree_passes_on_what_is_below_it_and_refuses_to_be_left() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let session = app.ai_session(100).await;
    let get = |path: &str| {
        // A client that sends the path as it is.
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            app.address, session.macaroon
        );
        let address = app.address;
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
        }
    };
    for path in ["/paid/files/a/b.txt", "/paid/files/a%20b?x=%2e%2e"] {
        assert_eq!(get(path).await, 200, "{path}");
    }
    for path in [
        "/paid/files/../weather",
        "/paid/files/%2e%2e/x",
        "/paid/files/a/%2E./x",
        "/paid/files/a%2fb",
        "/paid/files/a//b",
    ] {
        assert_eq!(get(path).await, 400, "{path}");
    }
    for path in
        ["/paid/files", "/paid/files/", "/paid/filesx", "/paid/weather/x", "/paid", "/paid/we%61ther/x"]
    {
        assert_eq!(get(path).await, 404, "{path}");
    }
    let firsts: Vec<String> =
        upstream.calls().iter().map(|call| call.lines().next().unwrap().to_owned()).collect();
    assert_eq!(firsts, ["GET /service/a/b.txt HTTP/1.1", "GET /service/a%20b?x=%2e%2e HTTP/1.1"]);
    for method in [Method::PUT, Method::DELETE] {
        let refused = app.request(method.clone(), "/paid/weather").send().await.unwrap();
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["allow"]),
            (405, &"GET, HEAD, POST".parse().unwrap()),
            "{method}"
        );
    }
    let large = app.send(app.request(Method::POST, "/paid/weather").body("x".repeat(1001))).await;
    large.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_session_pays_for_calls_and_one_without_balance_does_not() {
    let upstream = TestUpstream::start(Says::json(200, "{\"sun\":true}")).await;
    let mounts =
        [("/paid/weather", 45), ("/paid/files/*", 1)].map(|(path, n)| mount(path, upstream.address, sats(n)));
    let app = TestApp::with(Options { mounts: mounts.into(), ..Options::default() });
    let session = app.ai_session(100).await;
    let bearer = format!("Bearer {}", session.macaroon);
    for left in [55_000, 10_000] {
        let answer = prove(&app, "{}", &bearer).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "{\"sun\":true}"));
        assert_eq!(answer.header("x-tithe-balance-msats"), left.to_string());
        assert_eq!(session.balance().await, left);
        assert_eq!(answer.header("payment-receipt"), "");
    }
    let refused = app.send(request(&app, "{}").header("Authorization", &bearer)).await;
    refused.is_problem(402, "insufficient_balance");
    assert_eq!(refused.json()["requiredSats"], 45, "{}", refused.text);
    assert_eq!(upstream.calls().len(), 2);
    // The same key with the same query is one call; with another query it is refused.
    let keyed = |query: &str| {
        let request = app.request(Method::GET, &format!("/paid/files/a?{query}"));
        request.header("Authorization", &bearer).header("Idempotency-Key", "0123456789abcdef")
    };
    assert_eq!(app.ai_send(keyed("a=1")).await.status, 200);
    assert_eq!(app.ai_send(keyed("a=1")).await.header("idempotency-replayed"), "true");
    app.send(keyed("a=2")).await.is_problem(409, "idempotency_key_reused");
    assert_eq!((upstream.calls().len(), session.balance().await), (3, 9_000));
}

#[tokio::test]
async fn sixty_four_proofs_at_once_are_one_call() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let paid = offer(&app, "{}").await.paid(&app).await;
    let answers = (0..64).map(|n: usize| {
        let proof = if n.is_multiple_of(2) { paid.l402() } else { paid.payment() };
        let app = &app;
        async move { prove(app, "{}", &proof).await }
    });
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!((answer.status, answer.text.as_str()), (200, "{}"), "{answer:?}");
        assert_eq!(receipt(&answer)["reference"], paid.offer.hash());
    }
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn nothing_is_offered_while_the_service_is_away_and_what_was_not_sent_can_be_tried_again() {
    let address = TestUpstream::absent().await;
    let app = app(address, Options::default());
    let refused = app.send(request(&app, "{}")).await;
    refused.is_problem(503, "no_backend");
    assert_eq!(refused.header("www-authenticate"), "");
    // It goes away between the offer and the call.
    let address = TestUpstream::absent().await;
    let other = self::app(address, Options::default());
    let upstream = tokio::net::TcpListener::bind(address).await.unwrap();
    let paid = offer(&other, "{}").await.paid(&other).await;
    drop(upstream);
    let failed = other.send(request(&other, "{}").header("Authorization", paid.l402())).await;
    failed.is_problem(502, "work_failed");
    assert_eq!(failed.detail(), "the service behind this route cannot be reached; nothing was charged");
    assert_eq!(paid.state(&other).await["state"], "paid");
    let upstream = TestUpstream::appear(address, Says::json(200, "{}")).await;
    assert_eq!(prove(&other, "{}", &paid.l402()).await.status, 200);
    assert_eq!((upstream.calls().len(), other.uncollected().await), (1, 0));
}

#[tokio::test]
async fn a_failure_of_the_service_is_not_charged_and_can_be_tried_again() {
    let (app, upstream) = started(Says::json(503, "secret of the operator")).await;
    let paid = offer(&app, "{}").await.paid(&app).await;
    for _try in 0..2 {
        let failed = app.send(request(&app, "{}").header("Authorization", paid.l402())).await;
        failed.is_problem(502, "work_failed");
        assert_eq!(
            failed.detail(),
            "the service behind this route has failed (HTTP 503); nothing was charged"
        );
        assert_eq!(failed.header("payment-receipt"), "");
    }
    assert_eq!((upstream.calls().len(), claimable(&app, &paid).await), (2, Value::Null));
    upstream.say(Says::json(200, "{}"));
    assert_eq!(prove(&app, "{}", &paid.l402()).await.status, 200);
    assert_eq!(app.uncollected().await, 0);
}

/// The answer is lost, or can't be passed on: the service may have done its work.
#[tokio::test]
async fn what_may_have_been_done_is_not_done_again_and_is_refunded() {
    let large = "x".repeat(1001);
    for (says, why) in [
        (Says::cut("half of"), "the service behind this route broke off its answer"),
        (Says::Bytes(b"HTTP/1.1 2".to_vec()), "the service behind this route broke off its answer"),
        (Says::Bytes(b"nonsense\r\n\r\n".to_vec()), "the service behind this route broke off its answer"),
        (Says::Nothing, "the service behind this route did not answer in time"),
        (
            Says::json(200, &large),
            "the answer of the service behind this route is too large: expected at most 1000 bytes",
        ),
    ] {
        let (app, upstream) = started(says).await;
        let paid = offer(&app, "{}").await.paid(&app).await;
        for _try in 0..2 {
            let failed = app.send(request(&app, "{}").header("Authorization", paid.l402())).await;
            failed.is_problem(502, "work_failed");
            let detail = "; it may have done the request, and is not called again; nothing was charged";
            assert_eq!(failed.detail(), format!("{why}{detail}"));
        }
        assert_eq!(upstream.calls().len(), 1, "{why}");
        assert_eq!(app.uncollected().await, 7_000, "{why}");
        let state = paid.state(&app).await;
        assert_eq!(
            (&state["chargedMsats"], &state["refund"]["amountSats"]),
            (&json!(0), &json!(7)),
            "{state}"
        );
        // A session pays nothing either, and its key does not call again.
        let session = app.ai_session(100).await;
        let keyed = || {
            let request = request(&app, "{}").header("Authorization", format!("Bearer {}", session.macaroon));
            request.header("Idempotency-Key", "0123456789abcdef")
        };
        for _try in 0..2 {
            app.send(keyed()).await.is_problem(502, "work_failed");
        }
        assert_eq!((session.balance().await, upstream.calls().len()), (100_000, 2), "{why}");
    }
}

#[tokio::test]
async fn what_the_service_refuses_is_passed_on_and_not_charged() {
    let (app, upstream) = started(Says::json(422, "{\"error\":\"no such city\"}")).await;
    let paid = offer(&app, "{}").await.paid(&app).await;
    for replayed in ["", "true"] {
        let answer = prove(&app, "{}", &paid.l402()).await;
        assert_eq!((answer.status, answer.text.as_str()), (422, "{\"error\":\"no such city\"}"));
        assert_eq!(
            (answer.header("x-tithe-cost-msats"), answer.header("idempotency-replayed")),
            ("0", replayed)
        );
        assert_eq!(answer.header("payment-receipt"), "");
    }
    let state = paid.state(&app).await;
    assert_eq!((&state["chargedMsats"], &state["refund"]["amountSats"]), (&json!(0), &json!(7)), "{state}");
    assert_eq!((upstream.calls().len(), app.uncollected().await), (1, 0));
    let claimed = app.payment_refund(&paid, &json!({})).await.ok(202);
    assert_eq!(claimed["refund"]["amountSats"], 7, "{claimed}");
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let (app, upstream) =
        started(Says::whole(302, &[("Location", "http://127.0.0.1:1/elsewhere")], b"")).await;
    let paid = offer(&app, "{}").await.paid(&app).await;
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let sent =
        client.post(app.url("/paid/weather?city=Rome")).body("{}").header("Authorization", paid.l402());
    let answer = Answer::read(sent.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("location")), (302, "http://127.0.0.1:1/elsewhere"));
    assert_eq!(receipt(&answer)["reference"], paid.offer.hash());
    assert_eq!((upstream.calls().len(), paid.state(&app).await["chargedMsats"].clone()), (1, json!(7000)));
}

#[tokio::test]
async fn a_proof_is_for_its_path_its_query_and_its_body() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let paid = offer(&app, "{}").await.paid(&app).await;
    for (path, body) in [
        ("/paid/weather?city=Bern", "{}"),
        ("/paid/weather", "{}"),
        ("/paid/files/a", "{}"),
        ("/paid/weather?city=Rome", "[]"),
    ] {
        let other = app.request(Method::POST, path).body(body).header("Authorization", paid.l402());
        let refused = app.send(other).await;
        refused.is_problem(402, "proof_for_another_request");
        assert!(
            refused.detail().contains(
                ": the path, its query, the method, the body or a header that is passed on differs"
            ),
            "{}",
            refused.text
        );
    }
    assert_eq!(upstream.calls().len(), 0);
    let bearer = format!("Bearer {}", app.ai_session(100).await.macaroon);
    let both = request(&app, "{}").header("Authorization", paid.l402()).header("Authorization", bearer);
    app.send(both).await.is_problem(401, "invalid_payment_proof");
}

#[tokio::test]
async fn a_receipt_names_the_route_and_the_request() {
    let (app, _upstream) = started(Says::json(200, "{}")).await;
    let paid = offer(&app, "{}").await.paid(&app).await;
    assert_eq!(prove(&app, "{}", &paid.l402()).await.status, 200);
    let request = app.request(Method::GET, &format!("/api/receipts/{}", paid.offer.hash()));
    let receipt = app.send(request.header("Authorization", paid.l402())).await.ok(200);
    assert_eq!(receipt["model"], "/paid/weather", "{receipt}");
    assert_eq!(receipt["chargedMsats"], 7000, "{receipt}");
    let hash = hex::encode(Sha256::digest(b"POST /paid/weather?city=Rome\n{}"));
    assert_eq!(receipt["requestSha256"], hash, "{receipt}");
}

#[tokio::test]
async fn a_call_whose_server_has_died_is_not_made_again_and_is_refunded() {
    let upstream = TestUpstream::start(Says::Nothing).await;
    let app = app(upstream.address, Options { started: false, manual_clock: true, ..Options::default() });
    let paid = offer(&app, "{}").await.paid(&app).await;
    let session = app.ai_session(100).await;
    let keyed = || {
        let request = request(&app, "{}").header("Authorization", format!("Bearer {}", session.macaroon));
        request.header("Idempotency-Key", "0123456789abcdef")
    };
    // The clients leave, and for the ledger so do the servers: their leases run out.
    let calling = async {
        tokio::join!(request(&app, "{}").header("Authorization", paid.l402()).send(), keyed().send())
    };
    let two_calls = async {
        while upstream.calls().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { _ = calling => panic!("nobody answers"), () = two_calls => {} }
    app.clock.advance(std::time::Duration::from_hours(1));
    // Before the hold was swept.
    let refused = app.send(request(&app, "{}").header("Authorization", paid.l402())).await;
    assert!([402, 409].contains(&refused.status), "{refused:?}");
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.sweep().await }).await.unwrap();
    let refused = app.send(request(&app, "{}").header("Authorization", paid.l402())).await;
    refused.is_problem(402, "payment_ended");
    assert_eq!(refused.json()["reason"], "unusable", "{}", refused.text);
    assert_eq!(refused.json()["offer"], Value::Null, "nobody pays twice for what is not their fault");
    app.send(keyed()).await.is_problem(502, "work_failed");
    let state = paid.state(&app).await;
    assert_eq!((&state["chargedMsats"], &state["refund"]["amountSats"]), (&json!(0), &json!(7)), "{state}");
    assert_eq!((upstream.calls().len(), session.balance().await), (2, 100_000));
}

#[tokio::test]
async fn tokens_are_charged_as_the_service_reports_them() {
    let price = CallPrice::PerToken { msats: Msats::new(300).unwrap(), tokens_max: 100 };
    let upstream = TestUpstream::start(Says::json(200, "{}")).await;
    let mounts = vec![mount("/paid/weather", upstream.address, price)];
    let app = TestApp::with(Options { mounts, ..Options::default() });
    for (body, charged) in [
        ("{\"usage\":{\"prompt_tokens\":3,\"total_tokens\":10}}", 3_000),
        ("{\"usage\":{\"total_tokens\":1000}}", 30_000),
        ("{\"usage\":{\"total_tokens\":0}}", 0),
        ("{\"usage\":null}", 30_000),
        ("no JSON", 30_000),
    ] {
        upstream.say(Says::json(200, body));
        let offered = offer(&app, body).await;
        assert_eq!(offered.sats(), 30);
        let paid = offered.paid(&app).await;
        let answer = prove(&app, body, &paid.l402()).await;
        assert_eq!(
            (answer.text.as_str(), answer.header("x-tithe-cost-msats")),
            (body, &*charged.to_string())
        );
        let state = paid.state(&app).await;
        assert_eq!(state["chargedMsats"], charged, "{state}");
        assert_eq!(state["refund"]["amountSats"], 30 - charged / 1000, "{state}");
    }
}
