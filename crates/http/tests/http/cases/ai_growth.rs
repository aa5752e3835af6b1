//! Holds that grow while answers are generated: what was generated is charged, or uncollected, however the answer ends.

use crate::app::{AiSession, Ends, Moved, Options, Read, Script, TestApp, Wire};
use serde_json::{Value, json};
use std::time::Duration;
use tithe_chat::Finish;
use tithe_engine::{Settings, WhenClientLeaves};
use tithe_money::Msats;
use tithe_pricing::{Tokenizer, Usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

/// A piece of an answer, and its tokens. One step of a hold is sixteen of them.
const PIECE: &str = " alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha \
    alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha \
    alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha alpha \
    alpha alpha alpha alpha alpha alpha";
const PIECE_TOKENS: u64 = 64;

/// The longest answer, in pieces.
const PIECES: usize = 64;

/// What the backend says that it has read.
const READ: u64 = 20;

fn tokens(pieces: usize) -> u64 {
    u64::try_from(pieces).unwrap() * PIECE_TOKENS
}

/// The backend's own count of an answer of so many pieces.
fn counted(pieces: usize) -> Usage {
    Usage { input_tokens: READ, output_tokens: tokens(pieces), ..Usage::ZERO }
}

fn script(pieces: usize, ends: Ends) -> Script {
    Script::of(&vec![PIECE; pieces], ends)
}

/// An answer that ends by itself after so many pieces.
fn complete(pieces: usize, finish: Finish) -> Script {
    script(pieces, Ends::Finished(finish, Some(counted(pieces))))
}

/// A stream of an answer that may be as long as the model allows.
fn long(wire: Wire, stream: bool) -> Value {
    let mut body = wire.body("hello", stream);
    body[if wire == Wire::Responses { "max_output_tokens" } else { "max_tokens" }] = 4_096.into();
    body
}

/// A session with so much left, in msats: the rest of its deposit is spent.
async fn session_with<'a>(app: &'a TestApp, backend: &crate::app::Scripted, left: u64) -> AiSession<'a> {
    let session = app.ai_session(100).await;
    let before = session.balance().await;
    if left < before {
        let rate = app.price(&Usage { output_tokens: 1_000, ..Usage::ZERO }).await;
        let output_tokens = (before - left) * 1_000 / rate;
        let usage = Usage { output_tokens, ..Usage::ZERO };
        backend.say(Script::of(&["x"], Ends::Finished(Finish::Stop, Some(usage))));
        let mut body = Wire::Chat.body("hello", false);
        body["max_tokens"] = output_tokens.into();
        Wire::Chat.read(&session.ask(Wire::Chat, &body).await, false);
    }
    session
}

/// What a request says, once it has ended, and what it has moved. The ledger, the record and the balance agree, and nothing is held. `is_lossy`
/// says that something may be uncollected.
async fn ended(session: &AiSession<'_>, before: u64, id: &str, is_lossy: bool) -> (Value, Moved) {
    let record = loop {
        let record = session.generation(id).await;
        if record["state"] != "running" {
            break record;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let mut moved = session.app.moved(id).await;
    // What nobody pays for is booked a moment after the end.
    for _ in 0..100 {
        if !is_lossy || moved.uncollected > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        moved = session.app.moved(id).await;
    }
    assert_eq!(record["charged_msats"], moved.charged, "{record} {moved:?}");
    assert_eq!((moved.granted, moved.included), (0, 0));
    assert_eq!(session.balance().await, before - moved.charged, "{record} {moved:?}");
    (record, moved)
}

/// What is held for a request, in msats.
async fn held(app: &TestApp, id: &str) -> u64 {
    let (engine, id) = (app.engine.clone(), tithe_sessions::RequestId(id.parse::<Uuid>().unwrap()));
    let stored = app.on_runtime(async move { engine.ports().store.session_request(id).await }).await;
    stored.unwrap().map_or(Msats::ZERO, |request| request.limit).get()
}

async fn answered(session: &AiSession<'_>, wire: Wire, stream: bool) -> (Read, String) {
    let answer = session.ask(wire, &long(wire, stream)).await;
    (wire.read(&answer, stream), answer.header("x-generation-id").to_owned())
}

#[test]
fn a_piece_has_as_many_tokens_as_it_says() {
    for pieces in [1, 2, 17, PIECES] {
        assert_eq!(Tokenizer::O200kBase.count(&PIECE.repeat(pieces)), tokens(pieces));
    }
}

#[tokio::test]
async fn a_long_answer_is_held_in_steps_and_charged_once() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for (wire, stream) in Wire::ALL.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
        for (pieces, finish, steps) in
            [(5, Finish::Stop, 1), (12, Finish::Length, 1), (14, Finish::Stop, 2), (60, Finish::Stop, 4)]
        {
            let before = session.balance().await;
            backend.say(complete(pieces, finish));
            let (read, id) = answered(&session, wire, stream).await;
            assert_eq!(read.text, PIECE.repeat(pieces));
            let price = app.price(&counted(pieces)).await;
            let (record, moved) = ended(&session, before, &id, false).await;
            assert_eq!(moved, Moved { charged: price, ..Moved::default() }, "{wire:?} {pieces} {record}");
            assert_eq!(record["estimated"], false);
            let held = held(&app, &id).await;
            let step = app.price(&Usage { output_tokens: 1_024, ..Usage::ZERO }).await;
            assert!(held > (steps - 1) * step && held < (steps + 1) * step, "{pieces} pieces: {held}");
        }
    }
}

/// Reasoning that is billed and not shown makes no hold grow: many requests at once would use many times the balance.
#[tokio::test]
async fn what_cannot_be_counted_is_held_as_a_whole_from_the_beginning() {
    let mut settings = crate::app::settings();
    settings.offered_models.insert("gpt-6-luna".to_owned());
    let (app, backend) = TestApp::scripted(Options { settings, ..Options::default() });
    let session = app.ai_session(1_000).await;
    let mut body = Wire::Chat.body("hello", false);
    body["max_tokens"] = 100_000.into();
    let whole = Usage { output_tokens: 100_000, ..Usage::ZERO };
    for (model, is_whole) in [("sim-large", false), ("gpt-6-luna", true)] {
        backend.say(complete(5, Finish::Stop));
        body["model"] = model.into();
        let answer = session.ask(Wire::Chat, &body).await;
        answer.ok(200);
        let held = held(&app, answer.header("x-generation-id")).await;
        assert_eq!(held >= app.price_on(model, &whole).await, is_whole, "{model}: {held}");
    }
}

#[tokio::test]
async fn what_the_backend_breaks_off_after_steps_is_uncollected() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for k in [1, 20, PIECES - 1] {
        let before = session.balance().await;
        backend.say(script(k, Ends::FailedAfter(counted(k))));
        let (_, id) = answered(&session, Wire::Chat, true).await;
        let (record, moved) = ended(&session, before, &id, true).await;
        assert_eq!((&record["state"], moved.charged), (&json!("failed"), 0));
        assert_eq!(moved.uncollected, app.price(&counted(k)).await);
    }
}

/// The backend does not know how much there is: what it generates beyond that reaches nobody, and is uncollected.
#[tokio::test]
async fn a_balance_that_runs_dry_ends_the_answer_at_a_length() {
    let (app, backend) = TestApp::scripted(Options::default());
    for (wire, stream) in Wire::ALL.into_iter().flat_map(|wire| [(wire, false), (wire, true)]) {
        for left in [10_000, 45_000, 100_000] {
            let session = session_with(&app, &backend, left).await;
            let before = session.balance().await;
            backend.say(complete(PIECES, Finish::Stop));
            let (read, id) = answered(&session, wire, stream).await;
            let delivered = read.text.len() / PIECE.len();
            assert_eq!((read.text, read.finish.as_str()), (PIECE.repeat(delivered), "length"));
            assert!(delivered > 0 && delivered < PIECES);
            let (record, moved) = ended(&session, before, &id, true).await;
            assert_eq!((&record["state"], &record["finish_reason"]), (&json!("complete"), &json!("length")));
            assert_eq!(record["tokens_completion"], tokens(delivered));
            let input_tokens = record["tokens_prompt"].as_u64().unwrap();
            let price = async |pieces| {
                app.price(&Usage { input_tokens, output_tokens: tokens(pieces), ..Usage::ZERO }).await
            };
            assert_eq!(moved.charged, price(delivered).await, "what was delivered was held");
            assert_eq!(backend.said(), delivered + 1, "the backend is left at once");
            assert_eq!(moved.charged + moved.uncollected, price(delivered + 1).await);
            assert!(before - moved.charged < price(1).await, "as much as there was: {moved:?}");
        }
    }
}

#[tokio::test]
async fn streams_at_once_share_the_balance() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(100).await;
    let mut gates = Vec::new();
    for _ in 0..2 {
        let (script, gate) = complete(PIECES, Finish::Stop).gated(1);
        backend.say(Script { pace: Duration::from_millis(3), ..script });
        gates.push(gate);
    }
    let opening = async {
        for gate in &gates {
            gate.reached().await;
        }
        for gate in &gates {
            gate.open();
        }
    };
    let ask = async || {
        let answer = session.ask(Wire::Chat, &long(Wire::Chat, true)).await;
        Wire::Chat.read(&answer, true)
    };
    let (one, other, ()) = tokio::join!(ask(), ask(), opening);
    let costs = [one.cost(), other.cost()];
    assert_eq!(100_000 - session.balance().await, costs[0] + costs[1]);
    assert!(costs.iter().all(|cost| *cost > 25_000), "{costs:?}");
    assert!(costs[0] + costs[1] > 90_000, "{costs:?}");
    assert_eq!((one.finish.as_str(), other.finish.as_str()), ("length", "length"));
}

#[tokio::test]
async fn a_session_that_is_closed_in_mid_stream_pays_for_what_was_held() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    let (script, gate) = complete(PIECES, Finish::Stop).gated(2);
    backend.say(script);
    let body = long(Wire::Chat, true);
    let asking = session.ask(Wire::Chat, &body);
    let closing = async {
        gate.reached().await;
        let path = format!("/api/sessions/{}/close", session.id);
        let close = app.request(reqwest::Method::POST, &path).body("{}");
        app.send(close.header("Authorization", format!("Bearer {}", session.macaroon))).await.ok(202);
        gate.open();
    };
    let (answer, ()) = tokio::join!(asking, closing);
    let read = Wire::Chat.read(&answer, true);
    assert_eq!((read.text.len() / PIECE.len(), read.finish.as_str()), (16, "length"), "one step");
    let moved = app.moved(answer.header("x-generation-id")).await;
    assert_eq!(moved.charged, read.cost());
}

/// Opens a stream over a connection of its own, and reads until the answer has got so far.
async fn stream_of(session: &AiSession<'_>, until: Option<&str>) -> (tokio::net::TcpStream, String) {
    let mut connection = session.app.connect().await;
    let body = long(Wire::Chat, true).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: tithe\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        session.macaroon,
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while let Some(until) = until
        && !seen.contains(until)
    {
        let mut bytes = [0; 4_096];
        let read = connection.read(&mut bytes).await.unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    (connection, seen)
}

fn generation_of(seen: &str) -> String {
    let line = seen.lines().find(|line| line.to_ascii_lowercase().starts_with("x-generation-id:")).unwrap();
    line.split(':').nth(1).unwrap().trim().to_owned()
}

/// The backend says nothing, so nothing is written to the client that has gone; it is noticed all the same, before the next sign of life
/// would be written, which is after 15 s.
#[tokio::test]
async fn a_client_that_leaves_a_silent_backend_is_noticed() {
    let (app, backend) = TestApp::scripted(Options::default());
    let session = app.ai_session(1_000).await;
    for k in [1, 20] {
        let before = session.balance().await;
        let (script, gate) = complete(PIECES, Finish::Stop).gated(k);
        backend.say(script);
        let (connection, seen) = stream_of(&session, Some("alpha")).await;
        gate.reached().await;
        drop(connection);
        let id = generation_of(&seen);
        let (record, moved) =
            tokio::time::timeout(Duration::from_secs(14), ended(&session, before, &id, true)).await.unwrap();
        assert_eq!(record["finish_reason"], "interrupted", "{record}");
        let input_tokens = record["tokens_prompt"].as_u64().unwrap();
        let usage = Usage { input_tokens, output_tokens: tokens(k), ..Usage::ZERO };
        assert_eq!(moved.charged + moved.uncollected, app.price(&usage).await, "{k} {record} {moved:?}");
        gate.open();
    }
    // Nothing has come at all.
    let (script, gate) = complete(PIECES, Finish::Stop).gated(0);
    backend.say(script);
    let (connection, _) = stream_of(&session, None).await;
    gate.reached().await;
    drop(connection);
    let path = format!("/api/sessions/{}", session.id);
    let held = async || {
        let request = app.request(reqwest::Method::GET, &path);
        let request = request.header("Authorization", format!("Bearer {}", session.macaroon));
        app.send(request).await.ok(200)["heldMsats"].as_u64().unwrap()
    };
    let gone = async {
        while held().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(9), gone).await.unwrap();
    gate.open();
}

/// Who has left is charged for what was sent, whatever becomes of the work; and with `Drain`, the backend's own count is booked.
#[tokio::test]
async fn a_backend_that_is_drained_says_itself_what_it_has_done() {
    let settings = Settings { when_client_leaves: WhenClientLeaves::Drain, ..crate::app::settings() };
    let (app, backend) = TestApp::scripted(Options { settings, ..Options::default() });
    let session = app.ai_session(1_000).await;
    for k in [1, 20, PIECES - 1] {
        let before = session.balance().await;
        let (script, gate) = complete(PIECES, Finish::Stop).gated(k);
        backend.say(script);
        let (connection, seen) = stream_of(&session, Some("alpha")).await;
        gate.reached().await;
        drop(connection);
        // The server has seen it when the stream's slot is free; opening the gate before would send more.
        tokio::time::sleep(Duration::from_millis(200)).await;
        gate.open();
        let (record, moved) = ended(&session, before, &generation_of(&seen), true).await;
        assert_eq!(backend.said(), PIECES + 1, "to the end");
        assert_eq!(record["finish_reason"], "interrupted");
        let output = record["tokens_completion"].as_u64().unwrap();
        assert!(output <= tokens(k), "{record}");
        assert_eq!(moved.charged + moved.uncollected, app.price(&counted(PIECES)).await, "{k} {moved:?}");
    }
}

/// The server stops renewing the lease in mid-stream, as one that was killed. Another one releases all that was held, and nothing is
/// charged, even if the first one was only frozen.
#[tokio::test]
async fn a_server_that_dies_in_mid_stream_charges_nothing() {
    let (app, backend) =
        TestApp::scripted(Options { started: false, manual_clock: true, ..Options::default() });
    for k in [1, 20, PIECES - 1] {
        let session = app.ai_session(1_000).await;
        let before = session.balance().await;
        let (script, gate) = complete(PIECES, Finish::Stop).gated(k);
        backend.say(script);
        let body = long(Wire::Chat, true);
        let asking = session.ask(Wire::Chat, &body);
        let dying = async {
            gate.reached().await;
            app.clock.advance(app.engine.settings().lease + Duration::from_secs(1));
            let engine = app.engine.clone();
            app.on_runtime(async move { engine.charging.sweep().await }).await.unwrap();
            assert_eq!(session.balance().await, before, "nothing is held");
            gate.open();
        };
        let (answer, ()) = tokio::join!(asking, dying);
        let read = Wire::Chat.read(&answer, true);
        assert_eq!(read.finish, "", "it is not complete");
        let (record, moved) = ended(&session, before, answer.header("x-generation-id"), true).await;
        assert_eq!((&record["state"], moved.charged), (&json!("failed"), 0));
        let said = backend.said().min(PIECES);
        let most = app.price(&counted(PIECES)).await;
        assert!(said >= k && moved.uncollected > 0 && moved.uncollected <= most, "{said} {moved:?}");
    }
}
