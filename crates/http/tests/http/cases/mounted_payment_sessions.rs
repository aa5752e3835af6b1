//! Sessions of the scheme `Payment` on mounted routes.

use crate::app::{
    Answer, Deposit, Gate, Metered, Options, PaymentSession, Says, TestApp, TestUpstream, Wire, chunk, mount,
    receipt, stream_head,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tithe_engine::mounts::{Method as Mounted, Mount};
use tithe_money::{Msats, Sats};
use tithe_pricing::CallPrice;

/// Problems of these routes look like those of `/api/ask`.
const PLAIN: Metered = Metered::Ask;

const CHAT: Metered = Metered::Ai(Wire::Chat);

/// A server that sells calls of the service for 100 sats at `/paid/weather` (GET and POST), at `/paid/orders` (POST), and for 10 sats a token
/// at `/paid/chat` (POST).
async fn started(says: Says) -> (TestApp, TestUpstream) {
    started_with(says, Options::default()).await
}

async fn started_with(says: Says, options: Options) -> (TestApp, TestUpstream) {
    let upstream = TestUpstream::start(says).await;
    let fixed = CallPrice::Fixed(Sats::new(100).unwrap());
    let by_token = CallPrice::PerToken { msats: Msats::new(10_000).unwrap(), tokens_max: 10 };
    let mounted = |path, price| mount(path, upstream.address, price);
    let mounts = vec![
        mounted("/paid/weather", fixed),
        Mount { methods: vec![Mounted::Post], ..mounted("/paid/orders", fixed) },
        Mount { methods: vec![Mounted::Post], ..mounted("/paid/chat", by_token) },
    ];
    (TestApp::with(Options { mounts, ..options }), upstream)
}

fn order(app: &TestApp, body: &str) -> RequestBuilder {
    app.request(Method::POST, "/paid/orders").body(body.to_owned())
}

/// The deposit that is offered for this request.
async fn deposit(app: &TestApp, request: RequestBuilder) -> Deposit {
    Deposit::of(&app.ai_send(request).await)
}

/// A session whose deposit is paid, and which is not open yet.
async fn paid(app: &TestApp, request: RequestBuilder) -> PaymentSession {
    let deposit = deposit(app, request).await;
    let preimage = deposit.pay(app).await;
    PaymentSession { deposit, preimage, return_invoice: app.good_return_invoice().await }
}

async fn send(app: &TestApp, request: RequestBuilder, credential: &str) -> Answer {
    app.ai_send(request.header("Authorization", credential)).await
}

/// What a session was charged, in msats.
async fn charged(app: &TestApp, session: &PaymentSession) -> Value {
    app.payment(&session.deposit.hash(), &session.open()).await.ok(200)["chargedMsats"].clone()
}

/// Closes a session, and returns what it was refunded.
async fn close(app: &TestApp, session: &PaymentSession) -> u64 {
    let by = deposit(app, app.request(Method::HEAD, "/paid/weather")).await;
    let closed = send(app, app.request(Method::GET, "/paid/orders"), &session.close(&by)).await;
    let body = closed.ok(200);
    assert_eq!((&body["status"], &body["refundStatus"]), (&json!("closed"), &json!("succeeded")), "{body}");
    let told = receipt(&closed);
    assert_eq!(
        (&told["refundSats"], &told["reference"]),
        (&body["refundSats"], &json!(session.deposit.hash()))
    );
    body["refundSats"].as_u64().unwrap()
}

#[tokio::test]
async fn a_session_is_opened_used_topped_up_and_closed_on_mounted_routes() {
    let (app, upstream) = started(Says::json(201, "{\"id\":1}")).await;
    let session = paid(&app, order(&app, "one")).await;
    assert_eq!(session.deposit.request["amount"], "100");
    let opened = send(&app, order(&app, "one"), &session.open()).await;
    assert_eq!((opened.status, opened.text.as_str()), (201, "{\"id\":1}"));
    assert_eq!(receipt(&opened)["reference"], session.deposit.hash());
    assert_eq!(opened.header("x-tithe-cost-msats"), "100000");
    let again = send(&app, order(&app, "one"), &session.open()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!((again.text.as_str(), upstream.calls().len()), ("{\"id\":1}", 1));
    let by = deposit(&app, order(&app, "two")).await;
    for replayed in ["", "true"] {
        let answer = send(&app, order(&app, "two"), &session.bearer(&by)).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (201, replayed), "{answer:?}");
    }
    assert_eq!(upstream.calls().len(), 2, "a challenge is used for one call");
    let another = send(&app, order(&app, "three"), &session.bearer(&by)).await;
    let facts = PLAIN.refused(&another, 402, "payment_ended");
    assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/unknown-challenge");
    assert_eq!(upstream.calls().len(), 2);
    // By GET where that calls nothing, and by POST whatever the body.
    let more = deposit(&app, app.request(Method::GET, "/paid/orders")).await;
    assert_eq!(more.request["amount"], "1");
    let top_up = session.top_up(&more, more.pay(&app).await);
    for request in [app.request(Method::GET, "/paid/orders"), order(&app, "no order")] {
        let topped = send(&app, request, &top_up).await;
        assert_eq!((topped.status, topped.text.as_str()), (200, r#"{"status":"ok"}"#));
    }
    assert_eq!(upstream.calls().len(), 2);
    let left = close(&app, &session).await;
    let paid_in = session.deposit.sats() + more.sats();
    assert!(left > paid_in / 2 && left <= paid_in - 200, "{left} of {paid_in}, two calls of 100");
    let by = deposit(&app, order(&app, "four")).await;
    let refused = send(&app, order(&app, "four"), &session.bearer(&by)).await;
    PLAIN.refused(&refused, 402, "payment_ended");
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test]
async fn get_and_head_offer_a_session_where_they_call_nothing() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let request = |method: Method, path| app.request(method, path);
    for (method, path) in
        [(Method::HEAD, "/paid/weather"), (Method::HEAD, "/paid/orders"), (Method::GET, "/paid/orders")]
    {
        let answer = app.ai_send(request(method.clone(), path)).await;
        assert_eq!(Deposit::of(&answer).request["amount"], "1", "{method} {path}");
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1, "{method} {path}");
    }
    // GET calls the service here, and is offered everything.
    let answer = app.ai_send(request(Method::GET, "/paid/weather")).await;
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 4, "{answer:?}");
    let session = paid(&app, request(Method::GET, "/paid/weather")).await;
    let by = deposit(&app, order(&app, "x")).await;
    for credential in [session.open(), session.bearer(&by), "Bearer x".to_owned()] {
        let refused = send(&app, request(Method::GET, "/paid/orders"), &credential).await;
        assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, POST"), "{refused:?}");
    }
    assert_eq!(upstream.calls().len(), 0);
    let called = send(&app, request(Method::GET, "/paid/weather"), &session.open()).await;
    assert_eq!((called.status, called.text.as_str()), (200, "{}"));
    let unknown = app.ai_send(request(Method::GET, "/paid/orders/x")).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_session_of_a_metered_route_pays_for_calls_and_the_other_way_round() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let session = app.opened_session(CHAT, &CHAT.body("hello", false)).await;
    let by = deposit(&app, order(&app, "x")).await;
    assert_eq!(send(&app, order(&app, "x"), &session.bearer(&by)).await.status, 200);
    let session = paid(&app, order(&app, "y")).await;
    assert_eq!(send(&app, order(&app, "y"), &session.open()).await.status, 200);
    let body = CHAT.body("again", false);
    let by = app.deposit(CHAT, &body).await;
    assert_eq!(app.proving(CHAT, &body, &session.bearer(&by)).await.status, 200);
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test]
async fn what_the_service_refuses_or_fails_at_is_not_charged() {
    let (app, upstream) = started(Says::json(422, "{\"error\":\"no such thing\"}")).await;
    let session = paid(&app, order(&app, "x")).await;
    for replayed in ["", "true"] {
        let answer = send(&app, order(&app, "x"), &session.open()).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (422, replayed), "{answer:?}");
        assert_eq!(answer.header("payment-receipt"), "", "a receipt of nothing");
    }
    assert_eq!(upstream.calls().len(), 1);
    // The service says that it has failed: the same credential calls it again.
    let by = deposit(&app, order(&app, "y")).await;
    upstream.say(Says::json(503, ""));
    send(&app, order(&app, "y"), &session.bearer(&by)).await.is_problem(502, "work_failed");
    upstream.say(Says::json(200, "{}"));
    assert_eq!(send(&app, order(&app, "y"), &session.bearer(&by)).await.status, 200);
    assert_eq!(upstream.calls().len(), 3);
    // What it may have done is not done again.
    let by = deposit(&app, order(&app, "z")).await;
    upstream.say(Says::cut("half of"));
    for _try in 0..2 {
        send(&app, order(&app, "z"), &session.bearer(&by)).await.is_problem(502, "work_failed");
    }
    assert_eq!(upstream.calls().len(), 4);
    assert_eq!(charged(&app, &session).await, 100_000, "one call");
    close(&app, &session).await;
}

#[tokio::test]
async fn a_redirect_is_charged_and_has_a_receipt() {
    let (app, _upstream) = started(Says::whole(302, &[("Location", "http://127.0.0.1:1/")], b"")).await;
    let session = paid(&app, order(&app, "x")).await;
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let sent = client.post(app.url("/paid/orders")).body("x").header("Authorization", session.open());
    let answer = Answer::read(sent.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("x-tithe-cost-msats")), (302, "100000"));
    assert_eq!(receipt(&answer)["reference"], session.deposit.hash());
}

#[tokio::test]
async fn the_same_credential_sixty_four_times_at_once_is_one_call() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let session = paid(&app, order(&app, "x")).await;
    let open = session.open();
    let answers = (0..64).map(|_| send(&app, order(&app, "x"), &open));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!((answer.status, answer.text.as_str()), (200, "{}"), "{answer:?}");
    }
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test]
async fn a_session_without_enough_is_offered_a_top_up_and_nothing_is_called() {
    let upstream = TestUpstream::start(Says::json(200, "{}")).await;
    let price = CallPrice::Fixed(Sats::new(60).unwrap());
    let settings = tithe_engine::Settings {
        session_payment_min: Sats::new(100).unwrap(),
        payment_session_deposit: Sats::ONE,
        ..crate::app::settings()
    };
    let mounts = vec![mount("/paid/orders", upstream.address, price)];
    let app = TestApp::with(Options { settings, mounts, ..Options::default() });
    let session = paid(&app, order(&app, "one")).await;
    assert_eq!(session.deposit.sats(), 100);
    assert_eq!(send(&app, order(&app, "one"), &session.open()).await.status, 200);
    let by = deposit(&app, order(&app, "two")).await;
    let refused = send(&app, order(&app, "two"), &session.bearer(&by)).await;
    let facts = PLAIN.refused(&refused, 402, "insufficient_balance");
    assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/insufficient-balance");
    assert_eq!((&facts["topUp"]["path"], &facts["requiredSats"]), (&json!("/paid/orders"), &json!(60)));
    assert_eq!(upstream.calls().len(), 1);
    // The challenge of the response tops it up, and the same credential is good for the request.
    let more = Deposit::of(&refused);
    let topped = send(&app, order(&app, ""), &session.top_up(&more, more.pay(&app).await)).await;
    assert_eq!(topped.status, 200, "{}", topped.text);
    assert_eq!(send(&app, order(&app, "two"), &session.bearer(&by)).await.status, 200);
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test]
async fn a_stream_is_passed_on_to_the_byte_and_charged_by_what_it_reports() {
    const EVENTS: &str =
        "data: {\"text\":\"a\"}\n\ndata: {\"usage\":{\"total_tokens\":5}}\n\ndata: [DONE]\n\n";
    let gate = Gate::default();
    gate.open();
    let pieces = vec![[stream_head(), chunk(EVENTS)].concat(), chunk("")];
    let (app, upstream) = started(Says::Gated(pieces, gate)).await;
    let request = || app.request(Method::POST, "/paid/chat").body("{\"stream\":true}");
    let session = paid(&app, request()).await;
    for _ in 0..2 {
        let answer = send(&app, request(), &session.open()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
        assert_eq!(answer.text, EVENTS);
        assert_eq!(receipt(&answer)["reference"], session.deposit.hash());
    }
    assert_eq!(upstream.calls().len(), 1);
    assert_eq!(charged(&app, &session).await, 50_000);
}

#[tokio::test]
async fn forged_credentials_call_nothing_and_two_payers_are_refused() {
    let (app, upstream) = started(Says::json(200, "{}")).await;
    let session = paid(&app, order(&app, "x")).await;
    let mut forged = session.clone();
    forged.deposit.challenge.realm.push('x');
    let wrong = PaymentSession { preimage: [7; 32], ..session.clone() };
    for credential in [forged.open(), wrong.open()] {
        let refused = send(&app, order(&app, "x"), &credential).await;
        PLAIN.refused(&refused, 401, "invalid_payment_proof");
    }
    // Not opened yet: hash and preimage alone pay for nothing.
    let by = deposit(&app, order(&app, "y")).await;
    let refused = send(&app, order(&app, "y"), &session.bearer(&by)).await;
    let facts: Value = PLAIN.refused(&refused, 402, "payment_ended");
    assert_eq!(facts["problem"], "https://paymentauth.org/problems/lightning/session-not-found");
    let macaroon = app.ai_session(100).await.macaroon;
    let both = order(&app, "x").header("Authorization", format!("Bearer {macaroon}"));
    send(&app, both, &session.open()).await.is_problem(401, "invalid_payment_proof");
    assert_eq!(upstream.calls().len(), 0);
}

#[tokio::test]
async fn a_call_whose_server_has_died_is_not_made_again_and_the_session_goes_on() {
    let options = Options { started: false, manual_clock: true, ..Options::default() };
    let (app, upstream) = started_with(Says::Nothing, options).await;
    let session = paid(&app, order(&app, "x")).await;
    // The client leaves, and for the ledger so does the server: its lease runs out.
    let calling = order(&app, "x").header("Authorization", session.open()).send();
    let called = async {
        while upstream.calls().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { _ = calling => panic!("nobody answers"), () = called => {} }
    app.clock.advance(std::time::Duration::from_mins(5));
    let engine = app.engine.clone();
    app.on_runtime(async move { engine.sweep().await }).await.unwrap();
    for _try in 0..2 {
        send(&app, order(&app, "x"), &session.open()).await.is_problem(502, "work_failed");
    }
    assert_eq!((upstream.calls().len(), charged(&app, &session).await), (1, json!(0)));
    upstream.say(Says::json(200, "{}"));
    let by = deposit(&app, order(&app, "y")).await;
    assert_eq!(send(&app, order(&app, "y"), &session.bearer(&by)).await.status, 200);
    assert_eq!(upstream.calls().len(), 2);
}
