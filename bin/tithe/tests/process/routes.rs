//! Models that run on several backends: the file that says so, and a server that uses it.

use crate::fake_backend::{FakeBackend, Reply};
use crate::operating::procedure;
use crate::server::{Server, tithe};
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

on_both_stores! {
    what_one_backend_cannot_do_another_does_and_is_paid_for,
}

fn check(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = tithe(folder);
    command.args(["config", "check"]).args(arguments).env("TITHE_ROUTES", "routes.toml");
    command.envs(settings.iter().copied()).output().unwrap()
}

fn write(folder: &Path, routes: &str) {
    std::fs::write(folder.join("routes.toml"), routes).unwrap();
}

/// An address at which nobody listens.
fn closed_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn the_chapters_example_is_accepted_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &procedure("configure-routes"));
    std::fs::write(folder.path().join("lab.key"), "sk-secret-lab\n").unwrap();
    let settings =
        [("OPENROUTER_API_KEY", "sk-secret-router"), ("TITHE_OFFERED_MODELS", "fast,claude-opus-5-5")];
    let checked = check(folder.path(), &settings, &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", all_of(&checked));
    let shown = text(&checked.stdout);
    assert!(
        shown.contains(
            "# fast: gpt-6-luna (as qwen3-30b) at lab, then gpt-6-luna (as openai/gpt-6-luna) at openrouter\n"
        ),
        "{shown}"
    );
    assert!(!all_of(&checked).contains("sk-secret"));
    let report: Value = serde_json::from_slice(&check(folder.path(), &settings, &["--json"]).stdout).unwrap();
    assert_eq!(report["routes"][1]["model"], "claude-opus-5-5", "{report:#}");
}

#[test]
fn what_is_wrong_stops_the_start_and_names_the_file_the_row_and_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let sim = "[[backend]]\nname = \"other\"\nkind = \"sim\"\n";
    let target = |backend: &str, model: &str| {
        format!(
            "{sim}[[route]]\nmodel = \"fast\"\ntargets = [{{ backend = \"{backend}\", model = \"{model}\" }}]\n"
        )
    };
    let offered = [("TITHE_OFFERED_MODELS", "fast")];
    let begins = "tithe: cannot use the routes in routes.toml (TITHE_ROUTES)\n  because: ";
    for (routes, settings, message) in [
        (
            target("elsewhere", "sim-small"),
            &offered[..],
            "route 1 (\"fast\"), target 1: backend: expected one of main, other, got \"elsewhere\"",
        ),
        (
            target("other", "priceless"),
            &offered,
            "route 1 (\"fast\"), target 1: model: expected a model with a price in the catalogue, got \"priceless\"",
        ),
        (
            sim.replace("other", "hardware"),
            &[],
            "backend \"hardware\": reserved name: expected another one than main, cloud or hardware",
        ),
        ("[[route]\n".to_owned(), &[], "line 1: "),
        (
            sim.replace("\"sim\"", "\"openai\""),
            &[],
            "backend 1 (\"other\"): url: expected the base URL of the backend, got none",
        ),
    ] {
        write(folder.path(), &routes);
        let checked = check(folder.path(), settings, &[]);
        let told = text(&checked.stderr);
        assert_eq!(checked.status.code(), Some(1), "{}", all_of(&checked));
        assert!(told.contains(&format!("{begins}{message}")), "{message:?} is not in {told}");
        let mut serve = tithe(folder.path());
        serve.arg("serve").env("TITHE_ROUTES", "routes.toml").env("TITHE_LISTEN", "127.0.0.1:0");
        let refused = serve.envs(settings.iter().copied()).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{}", all_of(&refused));
        assert!(all_of(&refused).contains(message), "{}", all_of(&refused));
    }
    // A name without a route is not offered; a file that is not there.
    write(folder.path(), sim);
    let unknown = check(folder.path(), &offered, &[]);
    assert!(text(&unknown.stderr).contains("invalid TITHE_OFFERED_MODELS"), "{}", all_of(&unknown));
    std::fs::remove_file(folder.path().join("routes.toml")).unwrap();
    let told = text(&check(folder.path(), &[], &[]).stderr);
    assert!(told.contains(&format!("{begins}cannot read the file")), "{told}");
}

#[test]
fn every_target_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    let works = FakeBackend::start(|_, _| Reply::accept());
    write(
        folder.path(),
        &format!(
            "[[backend]]\nname = \"works\"\nkind = \"openai\"\nurl = \"http://{}/v1\"\n\
             [[backend]]\nname = \"gone\"\nkind = \"openai\"\nurl = \"http://{}/v1\"\n\
             [[route]]\nmodel = \"fast\"\ntargets = [{{ backend = \"gone\", model = \"sim-small\" }}, \
             {{ backend = \"works\", model = \"sim-large\", name = \"theirs\" }}]\n",
            works.address,
            closed_address()
        ),
    );
    let checked = check(folder.path(), &[("TITHE_DEV", "1")], &["--connect", "--json"]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let probes: Vec<(&str, &str)> = report["probes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|probe| probe["subject"] == "backend")
        .map(|probe| (probe["outcome"].as_str().unwrap(), probe["detail"].as_str().unwrap()))
        .collect();
    assert!(probes.contains(&("ok", "theirs at works answers")), "{report:#}");
    let failed = probes.iter().find(|(outcome, _)| *outcome == "failed").unwrap();
    assert!(failed.1.starts_with("sim-small at gone: the AI backend is not available"), "{failed:?}");
    let warning = ("warning", "nobody can ask for the route \"fast\": TITHE_OFFERED_MODELS does not name it");
    assert!(probes.contains(&warning), "{report:#}");
}

fn what_one_backend_cannot_do_another_does_and_is_paid_for(env: &TestEnv) {
    let routes = format!(
        "[[backend]]\nname = \"gone\"\nkind = \"openai\"\nurl = \"http://{}/v1\"\n\
         [[backend]]\nname = \"there\"\nkind = \"sim\"\n\
         [[route]]\nmodel = \"fast\"\ntargets = [{{ backend = \"gone\", model = \"sim-small\" }}, \
         {{ backend = \"there\", model = \"sim-large\" }}]\n",
        closed_address()
    );
    write(env.path(), &routes);
    let settings = [("TITHE_ROUTES", "routes.toml"), ("TITHE_OFFERED_MODELS", "fast,sim-large")];
    let mut server: Server = env.start_with(&settings);
    let url = server.url("");
    let opened = server.run(&["session", "open", "5000", "--dev-pay", "--no-qr", "--server", &url]);
    assert!(opened.status.success(), "{}", all_of(&opened));
    let macaroon = text(&opened.stdout).trim().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        let models: Value = client.get(server.url("/v1/models")).send().await.unwrap().json().await.unwrap();
        let names: Vec<&Value> =
            models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(names, ["fast", "sim-large"]);
        for _ in 0..2 {
            let body = json!({ "model": "fast", "messages": [{ "role": "user", "content": "hello" }] });
            let asked = client.post(server.url("/v1/chat/completions")).bearer_auth(&macaroon).json(&body);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["x-tithe-backend"], "there");
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["model"], "fast", "{answer}");
        }
    });
    // A job runs on the same route.
    let asked = crate::ask(&server, &["--model", "fast", "Why is the sky blue?"]);
    assert!(asked.status.success(), "{}", all_of(&asked));
    assert!(server.stop());
    env.audit();
}
