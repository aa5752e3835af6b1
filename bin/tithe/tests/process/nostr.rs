//! Customers whose events are made by other implementations of Nostr (`just test-nostr`).
//!
//! `TITHE_TEST_NOSTR` names a folder with the package nostr-tools in `node_modules`, and nostr-sdk in the Python environment
//! `venv`.

use crate::test_env::TestEnv;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a script against a server of its own.
fn logs_in_and_signs_requests(interpreter: impl FnOnce(&Path) -> Command, script: &str) {
    let Some(packages) = std::env::var_os("TITHE_TEST_NOSTR") else {
        panic!("TITHE_TEST_NOSTR says where the packages are");
    };
    let packages = PathBuf::from(packages).canonicalize().unwrap();
    let env = TestEnv::sqlite();
    let mut server = env.start();
    // Read from standard input, a script finds the packages of the folder that it runs in.
    let mut customer = interpreter(&packages);
    customer.args(["-", &server.url("")]).current_dir(&packages).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut customer = customer.spawn().unwrap();
    customer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let ended = customer.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", ended.status);
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    println!("{told}");
    assert!(server.stop());
    assert_eq!(env.audit()["jobs"], 1);
}

#[test]
#[ignore = "needs nostr-tools: just test-nostr"]
fn a_customer_with_nostr_tools_logs_in_and_signs_requests() {
    let node = |_: &Path| {
        let mut node = Command::new("node");
        node.arg("--input-type=module");
        node
    };
    logs_in_and_signs_requests(node, include_str!("../nostr/client.mjs"));
}

#[test]
#[ignore = "needs nostr-sdk: just test-nostr"]
fn a_customer_with_nostr_sdk_logs_in_and_signs_requests() {
    let python = |packages: &Path| Command::new(packages.join("venv/bin/python"));
    logs_in_and_signs_requests(python, include_str!("../nostr/client.py"));
}
