//! A customer's own key.

use crate::server::{Server, tithe};
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use reqwest::Client;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

on_both_stores! {
    a_key_logs_in_and_shows_where_it_stands,
}

/// Runs `tithe identity` for a customer who lives in that folder.
pub(crate) fn identity(folder: &Path, arguments: &[&str]) -> Output {
    tithe(folder).arg("identity").args(arguments).output().unwrap()
}

/// What it prints, if all goes well.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = identity(folder, arguments);
    assert!(output.status.success(), "{}", all_of(&output));
    text(&output.stdout)
}

/// Makes a key, and logs in with it.
pub(crate) fn token_of_somebody_new(server: &Server, folder: &Path) -> String {
    printed(folder, &["new"]);
    token(server, folder)
}

fn token(server: &Server, folder: &Path) -> String {
    printed(folder, &["login", "--server", &server.url("")]).trim_end().to_owned()
}

/// Who a server takes the bearer of a token for.
fn me(server: &Server, token: &str) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let request = Client::new().get(server.url("/api/identity/me")).header("X-Nostr-Token", token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    })
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn a_key_logs_in_and_shows_where_it_stands(env: &TestEnv) {
    let server = env.start_with(&[("FREE_TIER_BUDGET_NEW", "1000")]);
    let folder = env.path();
    let npub = printed(folder, &["new"]);
    assert!(npub.starts_with("npub1") && npub.lines().count() == 1, "{npub}");
    // Only the token goes where scripts read.
    let login = identity(folder, &["login", "--server", &server.url("")]);
    let (token, told) = (text(&login.stdout), text(&login.stderr));
    assert!(token.starts_with("v1.") && token.lines().count() == 1, "{token}");
    assert!(told.contains(npub.trim()) && told.contains("valid until"), "{told}");
    let (status, me) = me(&server, token.trim());
    assert_eq!((status, &me["npub"]), (200, &Value::from(npub.trim())));

    let shown = printed(folder, &["show", "--server", &server.url("")]);
    for line in [
        &format!("npub    {}", npub.trim()),
        &format!("hex     {}", me["pubkey"].as_str().unwrap()),
        &format!("server  {}", server.url("")),
        "tier    new, score 0; 10 more points to established",
        "budget  1000 of 1000 sats left",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in\n{shown}");
    }
}

#[test]
fn a_key_is_for_nobody_else_to_read_and_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let made = identity(folder.path(), &["new"]);
    let path = folder.path().join(".config/tithe/identity.nsec");
    assert!(text(&made.stderr).contains(&*path.to_string_lossy()), "{}", text(&made.stderr));
    let key = std::fs::read_to_string(&path).unwrap();
    assert!(key.starts_with("nsec1") && key.ends_with('\n') && !all_of(&made).contains(key.trim()));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

    let again = identity(folder.path(), &["new"]);
    assert_eq!(again.status.code(), Some(1));
    let told = text(&again.stderr);
    assert!(told.contains("identity.nsec already exists and is not overwritten"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), key);
    // Not even where it only leads somewhere else.
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    assert_eq!(identity(folder.path(), &["new", "--file", "link"]).status.code(), Some(1));
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn a_key_can_be_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let in_default = printed(folder.path(), &["new"]);
    let in_file = printed(folder.path(), &["new", "--file", "deep/down/my.nsec"]);
    assert_ne!(in_default, in_file);
    let show = |prepared: &mut Command| {
        let shown = prepared.args(["identity", "show", "--server", "http://127.0.0.1:1"]).output().unwrap();
        assert_eq!(shown.status.code(), Some(0), "without a server one still is somebody");
        assert!(text(&shown.stderr).contains("no server reachable at"), "{}", text(&shown.stderr));
        text(&shown.stdout).lines().next().unwrap().replace("npub    ", "") + "\n"
    };
    assert_eq!(show(&mut tithe(folder.path())), in_default);
    assert_eq!(show(tithe(folder.path()).env("TITHE_IDENTITY", "deep/down/my.nsec")), in_file);
    let xdg = folder.path().join("xdg");
    let moved = tithe(folder.path()).args(["identity", "new"]).env("XDG_CONFIG_HOME", &xdg).output().unwrap();
    assert_eq!(show(tithe(folder.path()).env("XDG_CONFIG_HOME", &xdg)), text(&moved.stdout));
}

#[test]
fn a_file_that_holds_no_key_is_refused_without_saying_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mistake");
    printed(folder.path(), &["new", "--file", "real"]);
    let nearly = std::fs::read_to_string(folder.path().join("real")).unwrap().replacen("nsec1", "nsec2", 1);
    for wrong in ["hunter2-is-my-password", nearly.trim()] {
        std::fs::write(&file, wrong).unwrap();
        for arguments in [
            &["identity", "show", "--file", "mistake"][..],
            &["identity", "login", "--file", "mistake"],
            &["ask", "--identity=mistake", "hello"],
        ] {
            let refused = tithe(folder.path()).args(arguments).output().unwrap();
            let told = all_of(&refused);
            assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {told}");
            assert!(told.contains("invalid key in mistake"), "{arguments:?}: {told}");
            assert!(!told.contains(wrong), "{arguments:?}: {told}");
        }
    }
    for arguments in [&["identity", "login"][..], &["ask", "--identity", "hello"]] {
        let refused = tithe(folder.path()).args(arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            text(&refused.stderr).contains("create one with `tithe identity new`"),
            "{}",
            text(&refused.stderr)
        );
    }
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    printed(folder.path(), &["new", "--file", "key"]);
    let show = || identity(folder.path(), &["show", "--file", "key", "--server", "http://127.0.0.1:1"]);
    assert!(!text(&show().stderr).contains("other users"), "{}", text(&show().stderr));
    for mode in [0o640, 0o604, 0o620] {
        let path = folder.path().join("key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let shown = show();
        let told = text(&shown.stderr);
        assert!(shown.status.success());
        assert!(told.contains(&format!("(mode {mode:o}): chmod 600 key")), "{told}");
    }
}

#[test]
fn a_token_is_no_good_where_the_secret_is_another_and_stays_good_where_secrets_change() {
    let (here, there) = (TestEnv::sqlite(), TestEnv::sqlite());
    let (old, new) = ("an-old-secret-of-32-bytes-or-more", "the-new-secret-of-32-bytes-or-more");
    let mut server = here.start_with(&[("TITHE_TOKEN_SECRET", old)]);
    let token = token_of_somebody_new(&server, here.path());
    assert_eq!(me(&server, &token).0, 200);
    assert!(server.stop());
    let rotated = here.start_with(&[("TITHE_TOKEN_SECRET", &format!("{new},{old}"))]);
    assert_eq!(me(&rotated, &token).0, 200);

    let other = there.start();
    let (status, problem) = me(&other, &token);
    assert_eq!((status, &problem["code"]), (401, &Value::from("invalid_identity")));
    // The key is good anywhere.
    let again = self::token(&other, here.path());
    assert_eq!(me(&other, &again).0, 200);
    assert_eq!(me(&rotated, &again).0, 401);
}

#[test]
fn a_server_with_a_public_address_takes_logins_for_that_host_alone() {
    let env = TestEnv::sqlite();
    printed(env.path(), &["new"]);
    // The port is not compared: NIP-42 takes the host's name to be enough.
    let ours = env.start_with(&[("TITHE_PUBLIC_URL", "http://127.0.0.1:9")]);
    assert_eq!(me(&ours, &token(&ours, env.path())).0, 200);
    let other = env.start_with(&[("TITHE_PUBLIC_URL", "https://tithe.example")]);
    let refused = identity(env.path(), &["login", "--server", &other.url("")]);
    let told = text(&refused.stderr);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()));
    assert!(told.contains("tag does not name this server (401, invalid_identity)"), "{told}");
}
