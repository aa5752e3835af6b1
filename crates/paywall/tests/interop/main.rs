//! Holders whose macaroons are made and narrowed by other implementations (`just test-macaroons`).
//!
//! `TITHE_TEST_MACAROONS` names a folder with the package macaroon in `node_modules`, and pymacaroons in the Python
//! environment `venv`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails; the exemption for tests does not reach their helpers"
)]

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tithe_money::Msats;
use tithe_paywall::{Caveat, InvalidMacaroon, Limit, Macaroon, Period, RootKey, Verified};

/// Not a text in any encoding.
const ROOT_KEY: [u8; 32] = [0xfe; 32];
const SESSION: &[u8] = b"session:00000000-0000-0000-0000-000000000000";
const LOCATION: &str = "https://tithe.example";

/// Runs the script with our macaroon, and verifies what it makes of it.
fn narrows_and_is_verified(interpreter: impl FnOnce(&Path) -> Command, script: &str) {
    let Some(packages) = std::env::var_os("TITHE_TEST_MACAROONS") else {
        panic!("TITHE_TEST_MACAROONS says where the packages are");
    };
    let packages = PathBuf::from(packages).canonicalize().unwrap();
    let root_key = RootKey::from_bytes(&ROOT_KEY);
    // Long enough for a length of two bytes.
    let models = Caveat::models(MODELS).unwrap();
    let ours = Macaroon::mint(&root_key, LOCATION, SESSION).unwrap().narrow(&models).unwrap();
    let limit = Caveat::from(Limit::Period(Period::Day, Msats::new(5_000).unwrap()));

    // Read from standard input, a script finds the packages of the folder that it runs in.
    let mut holder = interpreter(&packages);
    holder.args(["-", &hex::encode(ROOT_KEY), &ours.encode(), &limit.to_string()]).current_dir(&packages);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    holder.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let ended = holder.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", ended.status);
    let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let text = |name: &str| printed[name].as_str().unwrap();
    let verified =
        |name: &str| -> Verified { text(name).parse::<Macaroon>().unwrap().verify(&root_key).unwrap() };

    // They narrow as we do, to the byte.
    assert_eq!(text("narrowed"), ours.narrow(&limit).unwrap().encode());
    assert_eq!(verified("narrowed").caveats(), [models, limit.clone()]);
    assert_eq!(verified("narrowed").keys()[..2], *ours.verify(&root_key).unwrap().keys());
    // They mint as we do, to the byte.
    let minted = Macaroon::mint(&root_key, LOCATION, SESSION).unwrap().narrow(&limit).unwrap();
    assert_eq!(text("made"), minted.encode());
    assert_eq!(verified("made").identifier(), SESSION);
    let refused = text("thirdParty").parse::<Macaroon>().unwrap_err();
    assert_eq!(refused, InvalidMacaroon::ThirdPartyCaveat);
}

const MODELS: [&str; 3] = [
    "another/model-whose-name-is-long-enough-for-a-packet-of-more-than-127-bytes",
    "a-third-model-whose-name-is-long-too",
    "a/model:with.all_marks@1",
];

#[test]
#[ignore = "needs pymacaroons: just test-macaroons"]
fn a_holder_with_pymacaroons_narrows_and_is_verified() {
    let python = |packages: &Path| Command::new(packages.join("venv/bin/python"));
    narrows_and_is_verified(python, include_str!("client.py"));
}

#[test]
#[ignore = "needs macaroon: just test-macaroons"]
fn a_holder_with_the_package_macaroon_narrows_and_is_verified() {
    let node = |_: &Path| {
        let mut node = Command::new("node");
        node.arg("--input-type=module");
        node
    };
    narrows_and_is_verified(node, include_str!("client.mjs"));
}
