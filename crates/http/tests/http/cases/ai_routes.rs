//! A model that several backends do the work of: which one does it, what it is charged, and what is said of it.

use crate::app::{AiSession, Answer, Ends, Moved, Options, Script, Scripted, TestApp, Wire, settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tithe_chat::{Api, Finish};
use tithe_engine::Settings;
use tithe_engine::inference::{Inference, Route, RouteTarget, Routes};
use tithe_paywall::{Caveat, Macaroon};
use tithe_pricing::{Catalogue, Usage};

const USED: Usage = Usage { input_tokens: 120, cached_input_tokens: 20, output_tokens: 40, ..Usage::ZERO };

/// What customers call the model.
const ALIAS: &str = "fast";

/// A server with two backends: `fast` is `sim-small` on the main one, and else `sim-large` on the other.
struct Two {
    app: TestApp,
    main: Arc<Scripted>,
    other: Arc<Scripted>,
}

impl Two {
    fn new() -> Self {
        Self::of(Scripted::speaking(Api::OpenAiChat), Scripted::speaking(Api::AnthropicMessages), ALIAS)
    }

    fn of(main: Scripted, other: Scripted, eval_model: &str) -> Self {
        let (main, other) = (Arc::new(main), Arc::new(other));
        let first: Arc<dyn Inference> = main.clone();
        let second: Arc<dyn Inference> = other.clone();
        let backends = BTreeMap::from([("other".to_owned(), second)]);
        let target = |backend: &str, model: &str, name: Option<&str>| RouteTarget {
            backend: backend.to_owned(),
            model: model.to_owned(),
            name: name.map(str::to_owned),
        };
        let route = Route {
            model: ALIAS.to_owned(),
            targets: vec![
                target("main", "sim-small", None),
                target("other", "sim-large", Some("their/large")),
            ],
        };
        let routes = Routes::new(&first, &backends, &[route], &Catalogue::built_in()).unwrap();
        let mut settings: Settings = settings();
        settings.offered_models.insert(ALIAS.to_owned());
        eval_model.clone_into(&mut settings.eval_model);
        let app = TestApp::with(Options {
            inference: Some(first),
            routes: Some(routes),
            settings,
            ..Options::default()
        });
        Self { app, main, other }
    }

    fn asked(&self) -> (u32, u32) {
        (self.main.asked(), self.other.asked())
    }
}

fn body(wire: Wire, stream: bool) -> Value {
    let mut body = wire.body("Why is the sky blue?", stream);
    body["model"] = ALIAS.into();
    body
}

fn answer(usage: Usage) -> Script {
    Script::of(&["The sky ", "scatters ", "blue light."], Ends::Finished(Finish::Stop, Some(usage)))
}

fn failing(ends: Ends) -> Script {
    Script::of(&[], ends)
}

/// The model that an answer says it is from.
fn model_of(wire: Wire, stream: bool, answer: &Answer) -> Value {
    if !stream {
        return answer.json()["model"].clone();
    }
    let frames = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let first: Value = serde_json::from_str(frames.clone().next().unwrap()).unwrap();
    match wire {
        Wire::Chat => first["model"].clone(),
        Wire::Responses => first["response"]["model"].clone(),
        Wire::Messages => first["message"]["model"].clone(),
    }
}

/// An answer, and what the ledger moved for it. The record says what the customer asked for.
async fn paid(session: &AiSession<'_>, wire: Wire, stream: bool, backend: &str) -> Moved {
    let before = session.balance().await;
    let answer = session.ask(wire, &body(wire, stream)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(model_of(wire, stream, &answer), ALIAS, "{wire:?} {}", answer.text);
    assert_eq!(answer.header("x-tithe-backend"), backend, "{wire:?} {stream}");
    let id = answer.header("x-generation-id").to_owned();
    let (record, moved) = (session.generation(&id).await, session.app.moved(&id).await);
    assert_eq!((&record["model"], &record["charged_msats"]), (&json!(ALIAS), &json!(moved.charged)));
    assert_eq!(record["provider_name"], backend);
    assert_eq!(before - session.balance().await, moved.charged);
    moved
}

const WAYS: [(Wire, bool); 6] = [
    (Wire::Chat, false),
    (Wire::Chat, true),
    (Wire::Responses, false),
    (Wire::Responses, true),
    (Wire::Messages, false),
    (Wire::Messages, true),
];

#[tokio::test]
async fn each_target_is_charged_at_its_own_prices_and_named() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    let (small, large) =
        (two.app.price_on("sim-small", &USED).await, two.app.price_on("sim-large", &USED).await);
    assert!(small < large);
    for (wire, stream) in WAYS {
        two.main.say(answer(USED));
        let moved = paid(&session, wire, stream, "main").await;
        assert_eq!(moved, Moved { charged: small, ..Moved::default() }, "{wire:?}");
        for down in [Ends::Away, Ends::Failed] {
            two.main.say(failing(down));
            two.other.say(answer(USED));
            let moved = paid(&session, wire, stream, "other").await;
            assert_eq!(moved, Moved { charged: large, ..Moved::default() }, "{wire:?} {down:?}");
        }
    }
    // Each is sent its own name of the model.
    assert!(two.main.models().iter().all(|model| model == "sim-small"));
    assert!(two.other.models().iter().all(|model| model == "their/large"));
}

#[tokio::test]
async fn the_hold_covers_the_dearest_target() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    let used = Usage { input_tokens: 8, output_tokens: 400, ..Usage::ZERO };
    two.main.say(failing(Ends::Away));
    two.other.say(answer(used));
    let moved = paid(&session, Wire::Chat, false, "other").await;
    let charged = two.app.price_on("sim-large", &used).await;
    assert_eq!(moved, Moved { charged, ..Moved::default() }, "nothing is lost");
}

#[tokio::test]
async fn what_may_have_worked_for_nothing_is_booked_at_its_own_price_and_followed_by_another() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    two.main.say(failing(Ends::TimedOut));
    two.other.say(answer(USED));
    let moved = paid(&session, Wire::Chat, true, "other").await;
    assert_eq!(moved.charged, two.app.price(&USED).await);
    // The prompt, at the prices of the target that may have read it.
    let most = two.app.price_on("sim-small", &Usage { input_tokens: 50, ..Usage::ZERO }).await;
    assert!(moved.uncollected > 0 && moved.uncollected < most, "{moved:?}");
}

#[tokio::test]
async fn an_answer_that_has_begun_or_was_refused_is_nobody_elses() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    for (wire, stream) in WAYS {
        two.main.say(failing(Ends::Refused));
        wire.refused(&session.ask(wire, &body(wire, stream)).await, 422);
        for ends in [Ends::CutOff, Ends::FailedAfter(USED)] {
            two.main.say(Script::of(&["The sky "], ends));
            let answer = session.ask(wire, &body(wire, stream)).await;
            if stream {
                assert!(wire.read(&answer, true).error["message"].is_string(), "{answer:?}");
                assert_eq!(answer.header("x-tithe-backend"), "main");
            } else {
                wire.refused(&answer, 502);
            }
        }
        assert_eq!(session.balance().await, 5_000_000);
    }
    assert_eq!(two.other.asked(), 0);
}

#[tokio::test]
async fn when_all_are_down_nothing_is_charged() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    for (n, (wire, stream)) in (1..).zip(WAYS) {
        two.main.say(failing(Ends::Away));
        two.other.say(failing(Ends::Away));
        wire.refused(&session.ask(wire, &body(wire, stream)).await, 502);
        assert_eq!((session.balance().await, two.asked()), (5_000_000, (n, n)));
    }
}

#[tokio::test]
async fn a_repetition_says_the_same_and_asks_nobody() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    two.main.say(failing(Ends::Away));
    two.other.say(answer(USED));
    let ask = async |stream: bool| {
        let request = session.request(Wire::Chat, &body(Wire::Chat, stream));
        two.app.ai_send(request.header("Idempotency-Key", "the same")).await
    };
    let first = ask(false).await;
    let again = ask(false).await;
    assert_eq!((first.status, again.status, two.asked()), (200, 200, (1, 1)), "{}", again.text);
    assert_eq!(again.json(), first.json());
    for name in ["x-tithe-backend", "x-tithe-cost-msats", "x-generation-id"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.header("x-tithe-backend"), "other");
}

#[tokio::test]
async fn the_list_has_the_dearest_price_and_the_smallest_limits() {
    let two = Two::new();
    let models = two.app.ai_get("none", "/v1/models").await.ok(200);
    let of = |id: &str| models["data"].as_array().unwrap().iter().find(|model| model["id"] == id).unwrap();
    assert_eq!(of(ALIAS)["pricing"], of("sim-large")["pricing"]);
    assert_eq!(of(ALIAS)["context_length"], of("sim-small")["context_length"]);
    assert_eq!(of(ALIAS)["max_output_tokens"], 4096);
    let read = two.app.ai_get("none", &format!("/v1/models/{ALIAS}")).await.ok(200);
    assert_eq!(read, *of(ALIAS));
}

#[tokio::test]
async fn a_key_is_narrowed_to_the_customers_name() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    let key = Macaroon::parse(&session.macaroon).unwrap();
    let key = key.narrow(&Caveat::models([ALIAS]).unwrap()).unwrap().encode();
    let ask = async |model: &str| {
        let mut asked = body(Wire::Chat, false);
        asked["model"] = model.into();
        let request = two.app.ai_request(Wire::Chat, &asked);
        two.app.ai_send(request.header("Authorization", format!("Bearer {key}"))).await
    };
    two.main.say(failing(Ends::Away));
    two.other.say(answer(USED));
    assert_eq!(ask(ALIAS).await.status, 200);
    // Not even for the models that it stands for.
    for model in ["sim-small", "sim-large"] {
        Wire::Chat.refused(&ask(model).await, 403);
    }
}

#[tokio::test]
async fn tools_that_only_one_api_knows_go_only_to_its_backends() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    let with_tool = |model: &str| {
        let mut asked = body(Wire::Messages, false);
        asked["tools"] = json!([{ "type": "bash_20250124", "name": "bash" }]);
        asked["model"] = model.into();
        asked
    };
    two.other.say(answer(USED));
    let answered = session.ask(Wire::Messages, &with_tool(ALIAS)).await;
    assert_eq!((answered.status, answered.header("x-tithe-backend")), (200, "other"), "{}", answered.text);
    assert_eq!(two.asked(), (0, 1));
    // The main backend speaks another API, and nothing else runs this model.
    let refused = session.ask(Wire::Messages, &with_tool("sim-large")).await;
    let error = Wire::Messages.refused(&refused, 400);
    assert!(error["message"].as_str().unwrap().contains("bash_20250124"), "{error}");
    assert_eq!(two.asked(), (0, 1));
}

#[tokio::test]
async fn a_model_without_a_route_runs_on_the_main_backend() {
    let two = Two::new();
    let session = two.app.ai_session(5_000).await;
    two.main.say(answer(USED));
    let answer = session.ask(Wire::Chat, &Wire::Chat.body("hello", false)).await;
    assert_eq!((answer.status, answer.header("x-tithe-backend")), (200, "main"), "{}", answer.text);
    assert_eq!(two.main.models(), ["sim-large"]);
    two.main.say(failing(Ends::Away));
    Wire::Chat.refused(&session.ask(Wire::Chat, &Wire::Chat.body("hello", false)).await, 502);
    assert_eq!(two.asked(), (2, 0));
}
