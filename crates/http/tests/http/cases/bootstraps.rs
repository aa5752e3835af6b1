//! Nodes that are bought.

use crate::app::{Answer, Options, TestApp, settings};
use crate::shapes::unclaimed;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tithe_engine::Settings;
use tithe_provisioner::SimFault;

const PATH: &str = "/api/bootstrap";
const SSH_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+3KZ3Zq2B1n2l8tKk1k5m3wYcV0x0u8n6lq7m8Qm0a";

/// A node that was bought.
struct Bought {
    path: String,
    hash: String,
    token: String,
}

async fn buy(app: &TestApp, body: Value) -> Bought {
    let created = app.post(PATH, body.to_string()).await;
    let body = created.ok(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let path = format!("{PATH}/{}", text(&body["bootstrapJobId"]));
    assert_eq!(created.header("location"), path);
    Bought { path, hash: text(&body["invoice"]["paymentHash"]), token: text(&body["claimToken"]) }
}

async fn read_as(app: &TestApp, node: &Bought, method: Method, authorization: &str) -> Answer {
    app.send(app.request(method, &node.path).header("Authorization", authorization)).await
}

async fn claim(app: &TestApp, node: &Bought) -> Value {
    read_as(app, node, Method::GET, &format!("Bearer {}", node.token)).await.ok(200)
}

/// Reads the bootstrap, without its token, until it is in this state.
async fn until(app: &TestApp, node: &Bought, state: &str) -> Value {
    let looking = async {
        loop {
            let body = app.get(&node.path).await.ok(200);
            if body["state"] == state {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), looking).await.unwrap()
}

#[tokio::test]
async fn a_node_is_bought_and_its_credentials_are_shown_once() {
    let app = TestApp::new();
    let plans = app.get(PATH).await.ok(200);
    let small = json!({ "name": "small", "priceSats": 50_000 });
    assert_eq!(plans, json!({ "plans": [small, { "name": "large", "priceSats": 200_000 }] }));
    let node = buy(&app, json!({})).await;
    let unpaid = app.get(&node.path).await.ok(200);
    assert_eq!((&unpaid["state"], &unpaid["amountSats"]), (&json!("awaiting_payment"), &json!(50_000)));
    assert_eq!(unpaid["invoice"]["amountSats"], 50_000);
    app.pay(&node.hash).await;
    let ready = until(&app, &node, "ready").await;
    assert_eq!((&ready["node"], &ready["credentialsDelivered"]), (&Value::Null, &json!(false)));
    let head = read_as(&app, &node, Method::HEAD, &format!("Bearer {}", node.token)).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let first = claim(&app, &node).await;
    let credentials = first["node"]["credentials"].as_object().unwrap();
    assert_eq!((&credentials["user"], first["credentialsDelivered"].as_bool()), (&json!("root"), Some(true)));
    assert_eq!(credentials["password"].as_str().unwrap().len(), 32);
    let again = claim(&app, &node).await;
    assert_eq!(
        (&again["node"]["host"], &again["node"]["credentials"]),
        (&first["node"]["host"], &Value::Null)
    );
    assert_eq!(again["refund"], json!({ "state": "not_applicable", "amountSats": 0 }));

    // With a key of the customer's own there is no password.
    let node = buy(&app, json!({ "plan": "large", "sshPublicKey": format!("{SSH_KEY} me@home") })).await;
    app.pay(&node.hash).await;
    until(&app, &node, "ready").await;
    let ready = claim(&app, &node).await;
    assert_eq!(ready["node"]["credentials"], json!({ "user": "root", "sshKey": "your own" }));
    // The invoice leads its owner to the node.
    let invoice = app.request(Method::GET, &format!("/api/invoices/{}", node.hash));
    let invoice = app.send(invoice.header("Authorization", format!("Bearer {}", node.token))).await.ok(200);
    assert_eq!((&invoice["purpose"], &invoice["ownerPath"]), (&json!("bootstrap"), &json!(node.path)));
    let invoice = app.get(&format!("/api/invoices/{}", node.hash)).await.ok(200);
    assert_eq!(invoice["ownerPath"], Value::Null);
}

#[tokio::test]
async fn a_node_that_cannot_be_made_is_refunded_and_then_none_are_sold() {
    let app = TestApp::new();
    app.provisioner.faults().queue(SimFault::Refused);
    let node = buy(&app, json!({})).await;
    app.pay(&node.hash).await;
    let failed = until(&app, &node, "failed").await;
    assert_eq!(failed["refund"], unclaimed(50_000));
    assert_eq!(failed["message"], "The node could not be made. What was paid is refunded.");
    assert_eq!(claim(&app, &node).await["node"], Value::Null);
    let refused = app.post(PATH, "{}".to_owned()).await;
    refused.is_problem(503, "no_provisioner");
    assert_eq!(refused.header("retry-after"), "60");
}

#[tokio::test]
async fn only_the_claim_token_gets_the_credentials() {
    let app = TestApp::new();
    let (node, other) = (buy(&app, json!({})).await, buy(&app, json!({})).await);
    app.pay(&node.hash).await;
    until(&app, &node, "ready").await;
    let cut = &node.token[..node.token.len() - 1];
    for authorization in [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic x",
        &format!("Bearer {cut}"),
        &format!("Bearer {}", other.token),
        &format!("Bearer {} {}", node.token, node.token),
        &format!("L402 {}", node.token),
    ] {
        let refused = read_as(&app, &node, Method::GET, authorization).await;
        assert_eq!(refused.status, 401, "{authorization}: {}", refused.text);
    }
    let twice = app.request(Method::GET, &node.path);
    let twice = twice.header("Authorization", format!("Bearer {}", node.token));
    let twice = twice.header("Authorization", format!("Bearer {}", node.token));
    assert_eq!(app.send(twice).await.status, 401);
    assert!(claim(&app, &node).await["node"]["credentials"].is_object(), "nobody else got them");
    for id in ["nothing", "00000000-0000-0000-0000-00000000000g"] {
        app.get(&format!("{PATH}/{id}")).await.is_problem(400, "invalid_field");
    }
    app.get(&format!("{PATH}/00000000-0000-4000-8000-000000000000")).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn bad_orders_are_refused_and_repeated_ones_are_one() {
    let app = TestApp::new();
    for (body, field) in [
        (json!({ "plan": "huge" }), "plan: not offered by this server: expected one of small, large"),
        (json!({ "plan": 1 }), "plan: invalid type"),
        (json!({ "sshPublicKey": "ssh-ed25519 AAAA" }), "sshPublicKey: invalid SSH public key"),
        (
            json!({ "sshPublicKey": format!("command=\"x\" {SSH_KEY}") }),
            "sshPublicKey: invalid SSH public key",
        ),
        (json!({ "sshPublicKey": format!("{SSH_KEY}\n{SSH_KEY}") }), "sshPublicKey: invalid SSH public key"),
    ] {
        let refused = app.post(PATH, body.to_string()).await;
        refused.is_problem(400, "invalid_field");
        assert!(refused.detail().starts_with(field), "{}", refused.detail());
    }
    let ask = async || {
        let request = app.request(Method::POST, PATH).header("Idempotency-Key", "0123456789abcdef");
        app.send(request.body("{}")).await
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!((first.status, &first.text), (201, &second.text));
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(first.header("location"), second.header("location"));

    let none = Settings { bootstrap_plans: Vec::new(), ..settings() };
    let app = TestApp::with(Options { settings: none, ..Options::default() });
    assert_eq!(app.get(PATH).await.ok(200), json!({ "plans": [] }));
    app.post(PATH, "{}".to_owned()).await.is_problem(404, "not_offered");
}
