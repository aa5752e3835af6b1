//! The models, as clients of the AI API list them; and counting tokens.

use crate::app::{Options, TestApp, Wire, settings};
use reqwest::Method;
use serde_json::{Value, json};

fn app() -> TestApp {
    let mut settings = settings();
    settings.offered_models = ["sim-small", "openai/gpt-oss-120b"].map(str::to_owned).into();
    TestApp::with(Options { settings, ..Options::default() })
}

/// A price for a token, in dollars: a decimal text, as `OpenRouter` writes it.
fn dollars(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{text}");
    text.parse().unwrap()
}

#[tokio::test]
async fn every_model_has_the_fields_of_three_apis_and_a_price() {
    let app = app();
    let answer = app.ai_send(app.request(Method::GET, "/v1/models")).await;
    let list = answer.ok(200);
    let rows = list["data"].as_array().unwrap();
    assert_eq!((&list["object"], &list["has_more"]), (&json!("list"), &json!(false)));
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"sim-large") && ids.contains(&"sim-small"), "{ids:?}");
    assert_eq!((&list["first_id"], &list["last_id"]), (&json!(ids[0]), &json!(ids[ids.len() - 1])));
    for row in rows {
        assert_eq!((&row["object"], &row["type"]), (&json!("model"), &json!("model")), "{row}");
        assert!(
            row["created"].is_u64() && row["created_at"].is_string() && row["owned_by"].is_string(),
            "{row}"
        );
        assert!(row["name"].is_string() && row["display_name"].is_string(), "{row}");
        assert!(row["context_length"].as_u64().unwrap() > 0, "a number, or LibreChat shows no prices: {row}");
        assert!(row["supported_parameters"].as_array().unwrap().contains(&json!("tools")), "{row}");
        let pricing = &row["pricing"];
        assert!(dollars(&pricing["prompt"]) > 0.0 && dollars(&pricing["completion"]) > 0.0, "{row}");
        assert!(dollars(&pricing["completion"]) < 0.01, "for a token, not for a million: {row}");
        for part in ["request", "input_cache_read", "input_cache_write"] {
            assert!(dollars(&pricing[part]) >= 0.0, "{row}");
        }
        for part in ["prompt", "completion", "input_cache_read", "input_cache_write"] {
            assert!(row["pricing_msats"][part].as_u64().unwrap() > 0, "{row}");
        }
    }
    // The same for Anthropic's clients, which page.
    let request = app.request(Method::GET, "/v1/models?limit=1000").header("anthropic-version", "2023-06-01");
    assert_eq!(app.ai_send(request.header("X-Api-Key", "none")).await.ok(200), list);
    // Codex says its version.
    let request = app.request(Method::GET, "/v1/models?client_version=0.155.0");
    assert_eq!(app.ai_send(request).await.ok(200), list);
}

#[tokio::test]
async fn a_model_is_read_by_its_name_slashes_included() {
    let app = app();
    let list = app.ai_send(app.request(Method::GET, "/v1/models")).await.ok(200);
    for row in list["data"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        for path in [format!("/v1/models/{id}"), format!("/v1/models/{}", id.replace('/', "%2F"))] {
            let answer = app.ai_send(app.request(Method::GET, &path)).await;
            assert_eq!(&answer.ok(200), row, "{path}");
        }
    }
    for name in ["gpt-9", "a/b/c", "sim-large/", "%F0%9F%A6%80"] {
        let answer = app.ai_send(app.request(Method::GET, &format!("/v1/models/{name}"))).await;
        let error = Wire::Chat.refused(&answer, 404);
        assert_eq!(error["code"], "model_not_found", "{name}");
        let request = app.request(Method::GET, &format!("/v1/models/{name}"));
        let answer = app.ai_send(request.header("anthropic-version", "2023-06-01")).await;
        Wire::Messages.refused(&answer, 404);
    }
}

#[tokio::test]
async fn tokens_are_counted_without_a_key_and_free_of_charge() {
    let (app, backend) = TestApp::scripted(Options::default());
    let count = async |body: &Value| {
        let request = app.request(Method::POST, "/v1/messages/count_tokens").body(body.to_string());
        app.ai_send(request).await
    };
    let body = |text: &str| json!({ "model": "sim-large", "messages": [{"role": "user", "content": text}] });
    let short = count(&body("hello")).await.ok(200)["input_tokens"].as_u64().unwrap();
    let long = count(&body(&"hello ".repeat(100))).await.ok(200)["input_tokens"].as_u64().unwrap();
    assert!(short > 0 && long >= short + 99, "{short} {long}");
    let mut with_system = body("hello");
    with_system["system"] =
        json!([{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]);
    assert!(count(&with_system).await.ok(200)["input_tokens"].as_u64().unwrap() > short);
    let mut with_tool = body("hello");
    with_tool["tools"] = json!([{"name": "weather", "input_schema": {"type": "object"}}]);
    assert!(count(&with_tool).await.ok(200)["input_tokens"].as_u64().unwrap() > short);
    let mut unknown = body("hello");
    unknown["model"] = "gpt-9".into();
    Wire::Messages.refused(&count(&unknown).await, 404);
    for wrong in [
        json!({}),
        json!([]),
        json!({ "model": "sim-large" }),
        json!({ "model": "sim-large", "messages": 1 }),
    ] {
        Wire::Messages.refused(&count(&wrong).await, 400);
    }
    assert_eq!(backend.asked(), 0);
}
