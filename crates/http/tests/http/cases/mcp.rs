//! MCP: what the server says of itself, and what it does with messages that call nothing.

use crate::app::{Options, TestApp, challenged, tool_call};
use reqwest::Method;
use serde_json::{Value, json};

const ORIGIN: &str = "https://app.example";

fn message(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": "a-1", "method": method, "params": params })
}

#[tokio::test]
async fn a_client_initializes_and_finds_one_tool() {
    let app = TestApp::standing();
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let answer = app.mcp_send(&message("initialize", &params)).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.ok(200);
    assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &json!("a-1")));
    let result = &body["result"];
    assert_eq!(result["protocolVersion"], "2025-06-18");
    assert_eq!(result["serverInfo"]["name"], "tithe");
    assert_eq!(result["capabilities"]["tools"], json!({}));
    let payment = json!({ "methods": { "lightning": { "intents": ["charge", "session"] } } });
    assert_eq!(result["capabilities"]["experimental"]["payment"], payment);
    // Clients of these revisions read nothing that they do not know.
    assert_eq!(result.get("resultType"), None);

    let notice = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let noted = app.mcp_send(&notice).await;
    assert_eq!((noted.status, noted.text.as_str()), (202, ""));

    let listed = app.mcp(&message("tools/list", &json!({}))).header("MCP-Protocol-Version", "2025-06-18");
    let listed = app.ai_send(listed).await.ok(200);
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 1, "{listed}");
    assert_eq!((&tools[0]["name"], &tools[0]["inputSchema"]["type"]), (&json!("ask"), &json!("object")));
    assert_eq!(app.mcp_send(&message("ping", &Value::Null)).await.ok(200)["result"], json!({}));
}

#[tokio::test]
async fn a_client_of_the_latest_revision_needs_no_beginning() {
    let app = TestApp::standing();
    let revision = "2026-07-28";
    let params = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": revision, "io.modelcontextprotocol/clientCapabilities": {},
    } });
    let send = async |method: &str| {
        let request = app.mcp(&message(method, &params)).header("MCP-Protocol-Version", revision);
        app.ai_send(request.header("Mcp-Method", method)).await
    };
    let discovered = send("server/discover").await.ok(200);
    let result = &discovered["result"];
    assert_eq!(
        (&result["resultType"], &result["supportedVersions"][0]),
        (&json!("complete"), &json!(revision))
    );
    assert!(result["capabilities"]["experimental"]["payment"].is_object(), "{result}");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "tithe");
    let listed = send("tools/list").await.ok(200);
    assert_eq!(listed["result"]["cacheScope"], "public");
    for removed in ["resources/list", "initialize", "ping"] {
        let unknown = send(removed).await;
        assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!(-32_601)), "{removed}");
    }
    // Clients of the others would take a 404 for the end of their session.
    let unknown = app.mcp_send(&message("resources/list", &json!({}))).await.ok(200);
    assert_eq!((&unknown["error"]["code"], &unknown["id"]), (&json!(-32_601), &json!("a-1")));

    let silent = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": revision } });
    let silent = app.mcp(&message("tools/list", &silent)).header("MCP-Protocol-Version", revision);
    let silent = app.ai_send(silent.header("Mcp-Method", "tools/list")).await;
    let error = &silent.json()["error"];
    assert_eq!((silent.status, &error["code"]), (400, &json!(-32_602)), "{error}");
    assert!(error["message"].as_str().unwrap().contains("clientCapabilities"), "{error}");

    let mismatch = app.mcp(&message("tools/list", &params)).header("MCP-Protocol-Version", revision);
    let mismatch = app.ai_send(mismatch.header("Mcp-Method", "tools/call")).await;
    assert_eq!((mismatch.status, &mismatch.json()["error"]["code"]), (400, &json!(-32_020)));
    let future = app.mcp(&message("tools/list", &json!({}))).header("MCP-Protocol-Version", "2030-01-01");
    let future = app.ai_send(future).await;
    let error = &future.json()["error"];
    assert_eq!((future.status, &error["code"]), (400, &json!(-32_022)));
    assert!(error["data"]["supported"].as_array().unwrap().contains(&json!("2025-11-25")), "{error}");
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let app = TestApp::standing();
    for (body, status, code) in [
        ("{", 400, json!(-32_700)),
        ("[]", 400, json!(-32_600)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, 200, json!(-32_602)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tell"}}"#, 200, json!(-32_602)),
    ] {
        let answer = app.ai_send(app.request(Method::POST, "/mcp").body(body)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &code), "{body}");
    }
    app.send(app.request(Method::POST, "/mcp").header("Content-Type", "text/plain").body("{}"))
        .await
        .is_problem(415, "unsupported_media_type");
    for method in [Method::GET, Method::DELETE] {
        let refused = app.send(app.request(method, "/mcp")).await;
        refused.is_problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), "POST");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_calls_nothing() {
    let app = TestApp::with(Options { cors_origins: vec![ORIGIN.to_owned()], ..Options::default() });
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example.evil"] {
        let answer = app.ai_send(app.mcp(&message("ping", &json!({}))).header("Origin", origin)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!(-32_600)), "{origin}");
    }
    let own = app.ai_send(app.mcp(&message("ping", &json!({}))).header("Origin", ORIGIN)).await;
    own.ok(200);
    app.mcp_send(&message("ping", &json!({}))).await.ok(200);
    let open = TestApp::standing();
    open.ai_send(open.mcp(&message("ping", &json!({}))).header("Origin", "null")).await.ok(200);
}

/// The draft: a server must not process what can be paid for as a notification.
#[tokio::test]
async fn a_notification_calls_nothing() {
    let (app, backend) = TestApp::scripted(Options::default());
    let arguments = json!({ "request": "hello" });
    let paid = app.mcp_bought(&arguments).await;
    let asked = backend.asked();
    let mut notice = crate::app::with_credential(tool_call(1, &arguments), &paid.credential());
    notice.as_object_mut().unwrap().remove("id");
    let answer = app.mcp_send(&notice).await;
    assert_eq!((answer.status, answer.text.as_str(), backend.asked()), (202, "", asked));
    assert_eq!(paid.state(&app).await["state"], "paid");
}

#[tokio::test]
async fn accept_payment_chooses_the_challenges() {
    let app = TestApp::new();
    let call = tool_call(1, &json!({ "request": "hello" }));
    let answer = app.ai_send(app.mcp(&call).header("Accept-Payment", "lightning/charge")).await;
    let (error, _) = challenged(&answer, -32_042, "charge");
    assert_eq!(error["data"]["challenges"].as_array().unwrap().len(), 1, "{error}");
}
