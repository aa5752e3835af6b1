//! `tithe licence`: licences and their keys, as the operator manages them.

use crate::server::tithe;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

on_both_stores! {
    a_licence_is_revoked_by_itself_or_by_its_id,
    an_install_is_not_revoked_as_a_licence,
}

const INSTALL: &str = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";
/// The first test vector of RFC 8032.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const KEY: &str = "21fe31dfa154a261";

fn licence(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = tithe(folder);
    command.arg("licence").args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", all_of(output));
    text(&output.stdout)
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&printed(output)).unwrap()
}

/// That a command has failed with nothing on standard output, and what it has said.
fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", all_of(output));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

fn issue(folder: &Path, settings: &[(&str, &str)]) -> String {
    let issued = ["issue", "--plan", "pro", "--install", INSTALL, "--until", "2999-12-31"];
    let token = printed(&licence(folder, settings, &issued));
    token.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn a_licence_is_issued_alone_on_standard_output_and_shown_again() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["issue", "--plan", "max", "--install", INSTALL, "--until", "2999-12-31"];
    let issued = licence(folder.path(), &[], &arguments);
    let token = printed(&issued);
    let token = token.strip_suffix('\n').unwrap();
    assert!(token.starts_with("v1.") && token.lines().count() == 1 && !token.contains(' '), "{token}");
    let details = text(&issued.stderr);
    let expected =
        format!(": max for install {INSTALL}, until 3000-01-01T00:00:00.000000Z, signed with key ");
    assert!(details.contains(&expected), "{details}");
    // As `$(…)` and as a copied line with its end.
    for token in [token.to_owned(), format!("{token}\n")] {
        let shown = printed(&licence(folder.path(), &[], &["show", &token]));
        for part in [
            &format!("install    {INSTALL}\n"),
            "plan       max\n",
            "expires    3000-01-01T00:00:00.000000Z\n",
            "signature  verified with key ",
            "valid      yes",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }
    let shown = json_of(&licence(folder.path(), &[], &["show", token, "--json"]));
    assert_eq!((&shown["valid"], &shown["problem"]), (&json!(true), &Value::Null), "{shown}");
    let issued = json_of(&licence(folder.path(), &[], &[&arguments[..], &["--json"]].concat()));
    let again = issued["token"].as_str().unwrap();
    let again = json_of(&licence(folder.path(), &[], &["show", again, "--json"]));
    for field in ["id", "install", "plan", "expiresAt", "key"] {
        assert!(issued[field].is_string() && issued[field] == again[field], "{field} of {issued}");
    }
    assert_ne!(again["id"], shown["id"], "every licence has another id");
    assert_eq!(again["key"], shown["key"], "the key is kept");
}

#[test]
fn what_is_no_valid_licence_is_shown_with_the_reason_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let token = issue(here, &[]);
    let other = tempfile::tempdir().unwrap();
    let foreign = issue(other.path(), &[]);
    let truncated = &token[..token.len() - 1];
    let (start, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{start}.{}", "A".repeat(signature.len()));
    for (text, reason) in [
        ("", "not a licence: expected `v1.<payload>.<signature>`"),
        (INSTALL, "not a licence: expected `v1.<payload>.<signature>`"),
        (truncated, "damaged licence: expected the whole text exactly as it was issued"),
        (&forged, "invalid licence signature"),
        (&foreign, "unknown or retired licence key: expected a current key, got "),
    ] {
        let told = refused(&licence(here, &[], &["show", text]), 1);
        assert!(told.contains("the licence is not valid") && told.contains(reason), "{told}");
        assert!(text.is_empty() || !told.contains(text), "{told}");
    }
    // Issued with a warning, and shown with the reason.
    let past = ["issue", "--plan", "pro", "--install", INSTALL, "--until", "2020-02-29T12:00:00Z"];
    let issued = licence(here, &[], &past);
    let token = printed(&issued);
    let warning = "warning: the licence has already expired, at 2020-02-29T12:00:00.000000Z";
    assert!(text(&issued.stderr).contains(warning), "{}", text(&issued.stderr));
    let shown = licence(here, &[], &["show", &token]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(&shown.stdout).contains("valid      no"), "{}", all_of(&shown));
    assert!(
        text(&shown.stderr).contains("licence expired at 2020-02-29T12:00:00.000000Z"),
        "{}",
        all_of(&shown)
    );
}

#[test]
fn a_mistake_in_a_new_licence_is_named_and_nothing_is_issued() {
    let folder = tempfile::tempdir().unwrap();
    let upper = INSTALL.to_uppercase();
    for (plan, install, until, reason) in [
        ("gold", INSTALL, "2999-12-31", "unknown plan: expected pro or max"),
        ("Pro", INSTALL, "2999-12-31", "unknown plan: expected pro or max"),
        ("core", INSTALL, "2999-12-31", "every install has core without a licence: expected pro or max"),
        ("pro", &upper, "2999-12-31", INSTALL),
        ("pro", "", "2999-12-31", "--install"),
        ("pro", "my-phone", "2999-12-31", "expected a UUID in lower case"),
        ("pro", INSTALL, "2027-02-30", "the date 2027-02-30 does not exist"),
        (
            "pro",
            INSTALL,
            "2027-02-30T00:00:00Z",
            "invalid time: expected an RFC 3339 time on a date that exists",
        ),
        ("pro", INSTALL, "tomorrow", "expected a date, such as 2027-06-30"),
        ("pro", INSTALL, "", "--until"),
    ] {
        let arguments = ["issue", "--plan", plan, "--install", install, "--until", until];
        let told = refused(&licence(folder.path(), &[], &arguments), 2);
        assert!(told.contains(reason), "{told}");
    }
    assert!(!folder.path().join("tithe-data").exists(), "no key was generated");
}

#[test]
fn keys_are_rotated_and_retired() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let old = issue(here, &[]);
    let keys = || json_of(&licence(here, &[], &["keys", "--json"]));
    let first = keys()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(keys()[0]["signs"], true);
    let told = refused(&licence(here, &[], &["retire", &first]), 1);
    assert!(
        told.contains(&format!("the key {first} signs licences: run `tithe licence rotate` first")),
        "{told}"
    );

    let rotated = printed(&licence(here, &[], &["rotate"]));
    assert!(rotated.contains("and 1 older key still verifies. Restart the servers"), "{rotated}");
    let listed = keys();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 2 && ids[1] == first && rotated.contains(ids[0]), "{listed}");
    assert_eq!((&listed[0]["signs"], &listed[1]["signs"]), (&json!(true), &json!(false)));
    let plain = printed(&licence(here, &[], &["keys"]));
    assert!(plain.contains("  signs and verifies\n") && plain.lines().count() == 2, "{plain}");
    let new = issue(here, &[]);
    let shown = |token: &str| licence(here, &[], &["show", token, "--json"]);
    assert_eq!(
        (&json_of(&shown(&new))["key"], &json_of(&shown(&old))["key"]),
        (&json!(ids[0]), &json!(first))
    );

    printed(&licence(here, &[], &["retire", &first]));
    assert!(
        refused(&shown(&old), 1)
            .contains(&format!("unknown or retired licence key: expected a current key, got {first}"))
    );
    json_of(&shown(&new));
    let told = refused(&licence(here, &[], &["retire", &first]), 1);
    assert!(
        told.contains(&format!("unknown key: expected one that `tithe licence keys` lists, got {first}")),
        "{told}"
    );
    let told = refused(&licence(here, &[], &["retire", "first"]), 2);
    assert!(told.contains("invalid key id: expected 16 lower-case hex digits"), "{told}");
}

#[cfg(unix)]
#[test]
fn the_first_start_generates_a_key_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let env = TestEnv::sqlite();
    let mut server = env.start();
    let path = env.path().join("tithe-data/licence.secret");
    let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let secret = std::fs::read(&path).unwrap();
    issue(env.path(), &[]);
    // Somebody has opened it to others.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    server.kill();
    server.restart().unwrap();
    assert_eq!(mode(), 0o600);
    assert_eq!(std::fs::read(&path).unwrap(), secret);
    printed(&licence(env.path(), &[], &["rotate"]));
    assert_eq!(mode(), 0o600);
    let files = env.path().join("tithe-data").read_dir().unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("licence.")).count(), 1, "{names:?}");
}

#[test]
fn keys_that_are_configured_are_used_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let secret = [("TITHE_LICENCE_SECRET", SEED)];
    let listed = printed(&licence(here, &secret, &["keys"]));
    assert_eq!(listed, format!("{KEY}  {PUBLIC}  signs and verifies\n"));
    let token = issue(here, &secret);
    let both = format!("{},{SEED}", "07".repeat(32));
    json_of(&licence(here, &[("TITHE_LICENCE_SECRET", &both)], &["show", &token, "--json"]));
    // A machine that only verifies has no key of its own.
    let public = [("TITHE_LICENCE_PUBLIC_KEYS", PUBLIC)];
    json_of(&licence(here, &public, &["show", &token, "--json"]));
    let keys = licence(here, &public, &["keys"]);
    assert_eq!(printed(&keys), format!("{KEY}  {PUBLIC}  verifies\n"));
    for (settings, arguments, reason) in [
        (&secret, &["rotate"][..], "the licence keys are in TITHE_LICENCE_SECRET: put a new key in front"),
        (&secret, &["retire", KEY], "the licence keys are in TITHE_LICENCE_SECRET: remove the key there"),
        (&public, &["retire", KEY], "is in TITHE_LICENCE_PUBLIC_KEYS: remove it there"),
        (&public, &["rotate"], "no licence key: set TITHE_LICENCE_SECRET"),
    ] {
        let told = refused(&licence(here, settings, arguments), 1);
        assert!(told.contains(reason), "{told}");
    }
    assert!(!here.join("tithe-data").exists(), "no key was generated");
}

#[test]
fn malformed_keys_are_refused_by_name_and_secret_ones_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, value: &str| {
        tithe(folder.path()).args(["config", "check"]).env(name, value).output().unwrap()
    };
    let shown = printed(&check("TITHE_LICENCE_SECRET", SEED));
    assert!(shown.contains("# licence_secret is set, and hidden") && !shown.contains(SEED), "{shown}");
    let shown = printed(&check("TITHE_LICENCE_PUBLIC_KEYS", PUBLIC));
    assert!(shown.contains(&format!("licence_public_keys = \"{PUBLIC}\"")), "{shown}");
    let told = refused(&check("TITHE_LICENCE_SECRET", &SEED[1..]), 1);
    assert!(
        told.contains("invalid TITHE_LICENCE_SECRET (from the environment): expected 64 hex digits"),
        "{told}"
    );
    assert!(!told.contains(&SEED[1..]), "{told}");
    let told = refused(&check("TITHE_LICENCE_PUBLIC_KEYS", &"00".repeat(32)), 1);
    assert!(
        told.contains(
            "invalid TITHE_LICENCE_PUBLIC_KEYS (from the environment): expected an Ed25519 public key"
        ),
        "{told}"
    );
}

#[test]
fn in_production_no_key_is_generated() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TITHE_ENV", "production"),
        ("TITHE_WALLET", "phoenixd"),
        ("TITHE_PHOENIXD_PASSWORD", "password"),
        ("TITHE_INFERENCE", "openai"),
        ("TITHE_INFERENCE_URL", "http://127.0.0.1:1/v1"),
        ("TITHE_EVAL_MODEL", "m"),
        ("TITHE_WORK_MODEL", "m"),
        ("TITHE_BTC_PRICE_USD", "50000"),
        ("TITHE_PROVISIONER", "none"),
        ("TITHE_TOKEN_SECRET", "0123456789abcdef"),
        ("TITHE_NOSTR_SECRET_KEY", "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"),
    ];
    let arguments = ["issue", "--plan", "pro", "--install", INSTALL, "--until", "2999-12-31"];
    for arguments in [&arguments[..], &["rotate"]] {
        let told = refused(&licence(folder.path(), &settings, arguments), 1);
        assert!(told.contains("no licence key: set TITHE_LICENCE_SECRET to 64 random hex digits"), "{told}");
    }
    assert!(!folder.path().join("tithe-data").exists());
    let with_secret = [&settings[..], &[("TITHE_LICENCE_SECRET", SEED)]].concat();
    issue(folder.path(), &with_secret);
    // A key that is there is used.
    std::fs::create_dir(folder.path().join("tithe-data")).unwrap();
    std::fs::write(folder.path().join("tithe-data/licence.secret"), format!("{SEED}\n")).unwrap();
    let token = issue(folder.path(), &settings);
    assert_eq!(json_of(&licence(folder.path(), &settings, &["show", &token, "--json"]))["key"], KEY);
}

fn a_licence_is_revoked_by_itself_or_by_its_id(env: &TestEnv) {
    let _server = env.start();
    let run = |arguments: &[&str]| env.run(&[&["licence"], arguments].concat());
    assert_eq!(printed(&run(&["revoked"])), "licences revoked: 0\n");
    assert_eq!(json_of(&run(&["revoked", "--json"])), json!([]));
    let token = issue(env.path(), &[]);
    let id = json_of(&run(&["show", &token, "--json"]))["id"].as_str().unwrap().to_owned();
    let revoked = printed(&run(&["revoke", &token, "--reason", "refunded"]));
    assert!(
        revoked.starts_with(&format!("{id}  revoked at 20")) && revoked.ends_with("Z  refunded\n"),
        "{revoked}"
    );
    // The second time, nothing changes.
    let again = printed(&run(&["revoke", &id, "--reason", "stolen"]));
    assert_eq!(again, format!("{}: it was revoked before\n", revoked.trim_end()));
    // Nobody knows a licence of this id, nor an install.
    let unchecked = run(&["revoke", INSTALL]);
    printed(&unchecked);
    let note = "note: the id was not checked, because licences are not stored";
    assert!(text(&unchecked.stderr).contains(note), "{}", all_of(&unchecked));
    let listed = printed(&run(&["revoked"]));
    assert!(listed.contains(&*revoked) && listed.ends_with("licences revoked: 2\n"), "{listed}");
    let listed = json_of(&run(&["revoked", "--json"]));
    let ours = listed.as_array().unwrap().iter().find(|revoked| revoked["id"] == *id).unwrap();
    assert_eq!(ours["reason"], "refunded");
    for text in ["", "everything", &token[..token.len() - 1]] {
        let told = refused(&run(&["revoke", text]), 1);
        assert!(told.contains("cannot revoke this: expected a licence or its id"), "{told}");
    }
    env.audit();
}

fn an_install_is_not_revoked_as_a_licence(env: &TestEnv) {
    let server = env.start();
    let url = server.url("/api/ask");
    let ask = async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(url).header("X-Install-Id", INSTALL);
        request.json(&json!({ "request": "hello" })).send().await.unwrap().status()
    };
    let asked = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(ask);
    assert_eq!(asked, 200);
    let run = |arguments: &[&str]| env.run(&[&["licence"], arguments].concat());
    for id in [INSTALL, &INSTALL.to_uppercase()] {
        let told = refused(&run(&["revoke", id]), 1);
        assert!(told.contains("that is the id of an install: expected a licence or its id"), "{told}");
    }
    assert_eq!(json_of(&run(&["revoked", "--json"])), json!([]));
    // A licence of the install is revoked, and no other.
    let token = issue(env.path(), &[]);
    printed(&run(&["revoke", &token]));
    assert!(printed(&run(&["revoked"])).ends_with("licences revoked: 1\n"));
    env.audit();
}
