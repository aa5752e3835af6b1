//! Customers whose events are made by other implementations of Nostr (`just test-nostr`).
//!
//! `TITHE_TEST_NOSTR` names a folder with npm's nostr-tools in `node_modules` and PyPI's nostr-sdk in the Python environment
//! `venv`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

#[path = "../server/mod.rs"]
mod server;

use serde_json::Value;
use server::Server;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs a script against a server of its own.
fn buys(interpreter: impl FnOnce(PathBuf) -> Command, script: &str) {
    let packages =
        std::env::var_os("TITHE_TEST_NOSTR").expect("TITHE_TEST_NOSTR says where the packages are");
    let packages = PathBuf::from(packages).canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    // Read from standard input, a script finds the packages of the folder that it runs in.
    let mut command = interpreter(packages.clone());
    command.args(["-", &server.url("")]).current_dir(&packages);
    let mut customer = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    customer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let bought = customer.wait_with_output().unwrap();
    assert!(bought.status.success(), "{}", bought.status);
    let told: Value = serde_json::from_slice(&bought.stdout).unwrap();
    println!("{told}");
    assert!(server.stop());
    let audited = server.run(&["audit", "--json"]);
    let report: Value = serde_json::from_slice(&audited.stdout).unwrap();
    assert_eq!((&report["sound"], &report["jobs"]), (&Value::from(true), &Value::from(1)), "{report:#}");
}

#[test]
#[ignore = "needs nostr-tools: just test-nostr"]
fn nostr_tools_logs_in_and_signs_requests() {
    let node = |_| {
        let mut node = Command::new("node");
        node.arg("--input-type=module");
        node
    };
    buys(node, include_str!("client.mjs"));
}

#[test]
#[ignore = "needs nostr-sdk: just test-nostr"]
fn nostr_sdk_logs_in_and_signs_requests() {
    buys(|packages| Command::new(packages.join("venv/bin/python")), include_str!("client.py"));
}
