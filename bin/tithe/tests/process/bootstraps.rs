//! Nodes that are bought, made by the operator's program, and a server that is killed meanwhile.

use crate::server::Server;
use crate::test_env::{TestEnv, on_both_stores};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

on_both_stores! {
    a_killed_server_makes_one_node_for_one_payment,
    a_node_that_fails_is_refunded_and_destroyed,
}

const PATIENCE: Duration = Duration::from_mins(2);

/// Makes a folder for each node. A file named `stuck` keeps it from ending, one named `broken` makes it fail.
const SCRIPT: &str = r#"
folder=$1 request=$(cat)
id=$(printf '%s' "$request" | sed 's/.*"id":"\([^"]*\)".*/\1/')
case "$request" in
*'"action":"create"'*)
    mkdir "$folder/$id"
    echo "$id $TITHE_PROVISION_REGION" >> "$folder/created"
    [ ! -e "$folder/stuck" ] || exec sleep 600
    [ ! -e "$folder/broken" ] || { echo '{"state":"failed","reason":"no power"}'; exit; }
    ;;
*'"action":"find"'*) [ -d "$folder/$id" ] || { echo '{"state":"none"}'; exit; } ;;
*)
    rmdir "$folder/$id" || { echo '{"state":"none"}'; exit; }
    echo "$id" >> "$folder/destroyed"
    echo '{"state":"destroyed"}'
    exit
    ;;
esac
echo '{"state":"ready","host":"node.example","credentials":{"token":"t0ps3cret"}}'
"#;

fn start(env: &TestEnv) -> Server {
    start_with(env, &[("TITHE_LEASE_SECONDS", "3")])
}

fn start_with(env: &TestEnv, more: &[(&str, &str)]) -> Server {
    let script = env.path().join("provision.sh");
    std::fs::write(&script, SCRIPT).unwrap();
    let command = format!("/bin/sh {} {}", script.display(), env.path().display());
    let settings = [
        ("TITHE_PROVISIONER", "command"),
        ("TITHE_PROVISIONER_COMMAND", &command),
        ("TITHE_PROVISION_REGION", "here"),
        ("TITHE_BOOTSTRAP_PLANS", "small=1000"),
        ("TITHE_LOG", "debug"),
    ];
    env.start_with(&[&settings, more].concat())
}

/// Sends a request, and returns the body of a successful response.
fn send(request: RequestBuilder) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        request.timeout(PATIENCE).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    })
}

fn http() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Buys a node and pays for it; returns its URL and the claim token.
fn buy(server: &Server) -> (String, String) {
    let created = send(http().post(server.url("/api/bootstrap")).json(&json!({})));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let hash = text(&created["invoice"]["paymentHash"]);
    send(http().post(server.url(&format!("/dev/stub/pay/{hash}"))));
    let path = format!("/api/bootstrap/{}", text(&created["bootstrapJobId"]));
    (server.url(&path), text(&created["claimToken"]))
}

/// Waits until there is something.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    }
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

fn a_killed_server_makes_one_node_for_one_payment(env: &TestEnv) {
    let (stuck, created) = (env.path().join("stuck"), env.path().join("created"));
    std::fs::write(&stuck, "").unwrap();
    let mut server = start(env);
    let (url, token) = buy(&server);
    until("the program runs", || (lines(&created) == 1).then_some(()));
    server.kill();
    std::fs::remove_file(&stuck).unwrap();
    server.restart().unwrap();
    let read = || send(http().get(&url));
    until("the node is ready", || (read()["state"] == "ready").then_some(()));
    assert!(std::fs::read_to_string(&created).unwrap().ends_with(" here\n"), "the program's own variables");
    let claim = || send(http().get(&url).bearer_auth(&token));
    let first = claim();
    assert_eq!(first["node"], json!({ "host": "node.example", "credentials": { "token": "t0ps3cret" } }));
    assert_eq!(claim()["node"], json!({ "host": "node.example" }));
    assert!(server.stop());
    assert_eq!(lines(&created), 1, "nodes for one payment");
    let report = env.audit();
    assert_eq!((&report["bootstraps"], &report["bootstrapsMsats"]), (&json!(1), &json!("0")), "{report}");
    // The credentials are nowhere: neither in the log nor in the database's files.
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(!log.contains("t0ps3cret"));
    if !env.is_postgres() {
        let database = std::fs::read(env.file()).unwrap();
        assert!(!database.windows(9).any(|bytes| bytes == b"t0ps3cret"));
    }
}

/// Its claim lasts for 30 s.
#[test]
fn a_node_that_a_stopping_server_hands_back_is_looked_up_by_another_at_once() {
    let env = TestEnv::postgres();
    let (stuck, created) = (env.path().join("stuck"), env.path().join("created"));
    std::fs::write(&stuck, "").unwrap();
    let soon = [("TITHE_SHUTDOWN_SECONDS", "1")];
    let mut leaving = start_with(&env, &soon);
    let (url, _token) = buy(&leaving);
    until("the program runs", || (lines(&created) == 1).then_some(()));
    let staying = start_with(&env, &soon);
    let url = url.replace(&leaving.address, &staying.address);
    assert!(leaving.stop());
    let stopped = Instant::now();
    until("the node is ready", || (send(http().get(&url))["state"] == "ready").then_some(()));
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    assert_eq!(lines(&created), 1, "nodes for one payment");
    env.audit();
}

fn a_node_that_fails_is_refunded_and_destroyed(env: &TestEnv) {
    std::fs::write(env.path().join("broken"), "").unwrap();
    let mut server = start(env);
    let (url, _token) = buy(&server);
    let read = || send(http().get(&url));
    let failed = until("the node has failed", || Some(read()).filter(|body| body["state"] == "failed"));
    let refund = &failed["refund"];
    assert_eq!((&refund["state"], &refund["amountSats"]), (&json!("pending"), &json!(1_000)), "{refund}");
    let parts = [&refund["payableSats"], &refund["feeLimitSats"]].map(|sats| sats.as_u64().unwrap());
    assert_eq!(parts.iter().sum::<u64>(), 1_000, "{refund}");
    let destroyed = env.path().join("destroyed");
    until("the node is destroyed", || (lines(&destroyed) == 1).then_some(()));
    assert!(server.stop());
    assert_eq!(env.audit()["accountsMsats"]["refunds_due"], "1000000");
}
