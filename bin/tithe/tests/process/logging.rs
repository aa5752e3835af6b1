//! The log in JSON: every line an object, with the fields that the operator's chapter lists, and without secrets.

use crate::server::{Server, tithe};
use crate::test_env::{TestEnv, on_both_stores, pause};
use crate::{ask, text};
use reqwest::{Client, RequestBuilder};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

on_both_stores! {
    a_day_of_a_server_is_lines_with_known_fields_and_no_secret,
    what_keeps_a_server_from_starting_is_one_line_of_json,
}

const PATIENCE: Duration = Duration::from_mins(1);

const ADMIN_TOKEN: &str = "the-admin-token-7041";
const INSTALL: &str = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";
const REQUEST: &str = "my diagnosis is dragonpox";

const SETTINGS: &[(&str, &str)] = &[
    ("TITHE_LOG_FORMAT", "json"),
    // Everything that Tithe says, and much of what its libraries say.
    ("TITHE_LOG", "debug,tithe=trace"),
    ("TITHE_TOKEN_SECRET", "the-token-secret-7041"),
    ("TITHE_CLAIM_SECRET", "the-claim-secret-7041"),
    ("TITHE_ADMIN_TOKEN", ADMIN_TOKEN),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The types of the fields that the chapter lists.
fn listed_fields() -> BTreeMap<String, String> {
    let chapter = fs::read_to_string(root().join("docs/operating/observe.md")).unwrap();
    let section = chapter.split_once("\n## Logs\n").unwrap().1.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let fields: BTreeMap<_, _> =
        rows.map(|(name, rest)| (name.to_owned(), rest.split_once(" | ").unwrap().0.to_owned())).collect();
    assert!(fields.len() > 50, "{fields:?}");
    fields
}

fn parsed(log: &str) -> Vec<Map<String, Value>> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|wrong| panic!("{wrong}: {line}"));
    log.lines().map(line).collect()
}

fn server_log(env: &TestEnv) -> String {
    fs::read_to_string(env.path().join("server.log")).unwrap()
}

/// That a line has the fields of every line, and no field but those that are listed, of their types.
fn check_line(line: &Map<String, Value>, listed: &BTreeMap<String, String>) {
    for always in ["timestamp", "level", "message", "target"] {
        assert!(line[always].is_string(), "{line:?}");
    }
    assert!(line["level"] != "INFO" || !line.contains_key("error"), "an error at INFO: {line:?}");
    // What libraries say is theirs.
    if !line["target"].as_str().unwrap().starts_with("tithe") {
        return;
    }
    for (name, value) in line {
        let kind = match value {
            Value::String(_) => "text",
            Value::Number(_) => "number",
            Value::Bool(_) => "boolean",
            other => panic!("{name} is {other}: {line:?}"),
        };
        assert_eq!(listed.get(name).map(String::as_str), Some(kind), "{name} of {line:?}");
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Sends a request; returns the response's status, its request id and its body.
fn send(prepare: impl FnOnce(&Client) -> RequestBuilder) -> (u16, String, Value) {
    block_on(async {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let response = prepare(&client).send().await.unwrap();
        let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        (response.status().as_u16(), request_id, response.json().await.unwrap_or_default())
    })
}

fn created(server: &Server, path: &str, body: &Value) -> Value {
    let (status, _, body) = send(|client| client.post(server.url(path)).json(body));
    assert_eq!(status, 201, "{body}");
    let paid = body["invoice"]["paymentHash"].as_str().unwrap();
    let (status, _, receipt) = send(|client| client.post(server.url(&format!("/dev/stub/pay/{paid}"))));
    assert_eq!(status, 200, "{receipt}");
    json!({ "body": body, "receipt": receipt })
}

/// The texts of an answer that only its receiver may know.
fn secrets_in(answer: &Value, found: &mut Vec<String>) {
    const SECRET: [&str; 7] =
        ["claimToken", "macaroon", "preimage", "token", "password", "rootPassword", "secret"];
    match answer {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if SECRET.contains(&name.as_str()) => found.push(text.clone()),
                    other => secrets_in(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| secrets_in(item, found)),
        _ => {}
    }
}

/// Sells one of everything, with refunds; returns the secrets that were used.
fn sell(env: &TestEnv, server: &Server) -> Vec<String> {
    let mut secrets: Vec<String> = SETTINGS
        .iter()
        .map(|(_, value)| *value)
        .filter(|value| value.ends_with("7041"))
        .map(str::to_owned)
        .collect();
    secrets.extend([REQUEST, INSTALL].map(str::to_owned));
    assert!(env.run(&["identity", "new"]).status.success());
    let key = fs::read_to_string(env.path().join(".config/tithe/identity.nsec")).unwrap();
    secrets.push(key.trim().to_owned());
    let bought = ask(server, &["--identity", "--refund-to", "dev", REQUEST]);
    assert!(bought.status.success(), "{}", text(&bought.stderr));

    let session = created(server, "/api/sessions", &json!({ "amountSats": 500 }));
    secrets_in(&session, &mut secrets);
    let (id, macaroon) = (&session["body"]["sessionId"], session["body"]["macaroon"].as_str().unwrap());
    let path = format!("/api/sessions/{}", id.as_str().unwrap());
    let request = json!({ "request": REQUEST });
    let with_macaroon = |client: &Client| {
        client.post(server.url(&format!("{path}/request"))).bearer_auth(macaroon).json(&request)
    };
    assert_eq!(send(with_macaroon).0, 200);

    let node = created(server, "/api/bootstrap", &json!({}));
    secrets_in(&node, &mut secrets);
    let path = format!("/api/bootstrap/{}", node["body"]["bootstrapJobId"].as_str().unwrap());
    let token = node["body"]["claimToken"].as_str().unwrap();
    let began = Instant::now();
    let delivered = loop {
        let (_, _, read) = send(|client| client.get(server.url(&path)).bearer_auth(token));
        if read["state"] == "ready" {
            break read;
        }
        assert!(began.elapsed() < PATIENCE, "{read}");
        pause();
    };
    let credentials = delivered["node"]["credentials"].as_object().unwrap();
    secrets.extend(
        credentials.values().filter_map(Value::as_str).filter(|text| text.len() > 8).map(str::to_owned),
    );

    let issued = ["licence", "issue", "--plan", "pro", "--install", INSTALL, "--until", "2999-12-31"];
    let licence = text(&env.run(&issued).stdout).trim().to_owned();
    let as_install = |client: &Client| {
        let request = client.post(server.url("/api/ask")).header("X-Install-Id", INSTALL);
        request.header("X-License", &licence).json(&request_body())
    };
    assert_eq!(send(as_install).0, 200);
    let of_install = format!("/api/admin/installs/{INSTALL}");
    assert_eq!(send(|client| client.get(server.url(&of_install)).bearer_auth(ADMIN_TOKEN)).0, 200);
    secrets.push(licence.clone());
    secrets
}

fn request_body() -> Value {
    json!({ "request": REQUEST, "maxOutputTokens": 60 })
}

fn a_day_of_a_server_is_lines_with_known_fields_and_no_secret(env: &TestEnv) {
    let mut server = env.start_with(SETTINGS);
    let first = parsed(&server.banner);
    let secrets = sell(env, &server);
    let missing = "/api/jobs/00000000-0000-7000-8000-000000000000";
    let session = "/api/sessions/00000000-0000-7000-8000-000000000000";
    let refusals = [
        (send(|client| client.get(server.url(missing))), "GET", missing, 404, "not_found"),
        (
            send(|client| client.post(server.url("/api/jobs")).body("[]")),
            "POST",
            "/api/jobs",
            400,
            "invalid_body",
        ),
        (
            send(|client| {
                client.get(server.url(&format!("{session}?a=secret-7041"))).bearer_auth("secret-7041")
            }),
            "GET",
            session,
            401,
            "invalid_macaroon",
        ),
    ];
    assert!(Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap().success());
    let until = Instant::now() + Duration::from_mins(1);
    while !server_log(env).contains("SIGHUP") {
        server.assert_runs();
        assert!(Instant::now() < until, "the signal is not in the log");
    }
    assert!(server.stop());
    let log = server_log(env);
    let lines = parsed(&log);
    let listed = listed_fields();
    for line in first.iter().chain(&lines) {
        check_line(line, &listed);
    }
    let [first] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((&first["level"], &first["message"]), (&json!("INFO"), &json!("listening")));
    assert_eq!(first["address"], server.address);

    let all = log + &server.banner;
    for secret in secrets.iter().map(String::as_str).chain(["secret-7041", "dragonpox", "nsec1"]) {
        assert!(!secret.is_empty());
        let shown = all.lines().find(|line| line.contains(secret));
        assert_eq!(shown, None, "{secret}");
    }

    for ((status, request_id, body), method, path, expected, code) in refusals {
        assert_eq!((status, &body["code"]), (expected, &json!(code)), "{body}");
        let said: Vec<_> =
            lines.iter().filter(|line| line.get("request_id") == Some(&json!(request_id))).collect();
        let said = said.iter().find(|line| line["message"] == "response sent").unwrap();
        let expected = json!([expected, code, method, path, "127.0.0.1", "INFO"]);
        let fields = ["status", "code", "method", "path", "client_ip", "level"].map(|field| &said[field]);
        assert_eq!(json!(fields), expected, "{said:?}");
        assert!(said["duration_ms"].as_f64().unwrap() > 0.0, "{said:?}");
    }

    let credited: Vec<_> = lines.iter().filter(|line| line["message"] == "payment credited").collect();
    for (owner, payments) in [("job_id", 2), ("session_id", 1), ("bootstrap_id", 1)] {
        let of_owner = credited.iter().filter(|line| line.contains_key(owner));
        let amounts: Vec<_> = of_owner.map(|line| line["amount_msats"].as_u64().unwrap()).collect();
        assert!(
            amounts.len() == payments && amounts.iter().all(|amount| *amount > 0),
            "{owner}: {credited:?}"
        );
    }
    // What a job's payout says names the job.
    let job = &credited.iter().find(|line| line.contains_key("job_id")).unwrap()["job_id"];
    for message in
        ["purchase created", "evaluation finished", "work finished", "destination named", "paying", "paid"]
    {
        let said = lines.iter().find(|line| line["message"] == message && line.get("job_id") == Some(job));
        assert!(said.is_some(), "no {message:?} of {job}");
    }
    let worked = lines.iter().find(|line| line["message"] == "work finished").unwrap();
    assert!(worked["output_tokens"].as_u64().unwrap() > 0, "{worked:?}");
    assert!(lines.iter().any(|line| line.get("signal") == Some(&json!("SIGHUP"))));
    env.audit();
}

/// The arguments, the settings, and what the line says.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

fn what_keeps_a_server_from_starting_is_one_line_of_json(env: &TestEnv) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = env.path().join("a-file");
    fs::write(&file, "").unwrap();
    let broken = env.path().join("broken.toml");
    fs::write(&broken, "log_format = \"json\"\nlisten = \n").unwrap();
    let json_log = ("TITHE_LOG_FORMAT", "json");
    let database = format!("sqlite://{}/tithe.db", file.display());
    let cases: [Case<'_>; 7] = [
        (&["serve"], &[json_log, ("TITHE_WORKERS", "0")], "invalid TITHE_WORKERS"),
        (&["serve"], &[json_log, ("TITHE_LISTN", "x")], "unknown setting TITHE_LISTN"),
        (&["serve"], &[json_log, ("TITHE_LOG", "info,=,")], "invalid TITHE_LOG"),
        (&["serve"], &[json_log, ("TITHE_LISTEN", &taken)], "cannot listen on"),
        (
            &["serve"],
            &[json_log, ("DATABASE_URL", &database), ("TITHE_LISTEN", "127.0.0.1:0")],
            "a folder that exists",
        ),
        (&["migrate"], &[json_log, ("DATABASE_URL", "mysql://h/d")], "mysql"),
        (&["serve", "--config", "broken.toml"], &[], "broken.toml"),
    ];
    let listed = listed_fields();
    for (arguments, settings, problem) in cases {
        let mut command = tithe(env.path());
        if env.is_postgres() {
            command.env("DATABASE_URL", env.url());
        }
        let ran = command.args(arguments).envs(settings.iter().copied()).output().unwrap();
        assert!(!ran.status.success() && ran.stdout.is_empty(), "{settings:?}");
        let lines = parsed(&text(&ran.stderr));
        for line in &lines {
            check_line(line, &listed);
        }
        let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
        let [error] = errors.as_slice() else { panic!("{settings:?}: {lines:?}") };
        assert!(error["error"].as_str().unwrap().contains(problem), "{problem}: {error:?}");
    }
}

/// The arguments of a macro's call, up to its message.
fn arguments(call: &str) -> Vec<String> {
    let (mut found, mut current) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for character in call.chars() {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            match character {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.push(std::mem::take(&mut current));
                    continue;
                }
                _ => {}
            }
        }
        current.push(character);
    }
    found.push(current);
    found
        .into_iter()
        .map(|argument| argument.trim().to_owned())
        .filter(|argument| !argument.is_empty())
        .collect()
}

/// The fields of the lines and spans that a source has.
fn fields_of(source: &str) -> BTreeSet<String> {
    const MACROS: [&str; 7] = ["trace!(", "debug!(", "info!(", "warn!(", "error!(", "event!(", "_span!("];
    let source = source.split("\n#[cfg(test)]\n").next().unwrap();
    let mut fields = BTreeSet::new();
    for name in MACROS {
        for (at, _) in source.match_indices(name) {
            let is_span = name == "_span!(";
            if !is_span && source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let arguments = arguments(&source[at + name.len()..]);
            let all = arguments.iter().skip(usize::from(is_span));
            for argument in all.take_while(|argument| !argument.starts_with('"')) {
                if argument.starts_with("Level::") {
                    continue;
                }
                let field = argument.trim_start_matches(['%', '?']);
                let end = field.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(field.len());
                fields.insert(field[..end].to_owned());
            }
        }
    }
    fields
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Not every line comes in a test: the sources know them all.
#[test]
fn the_chapter_lists_every_field_that_any_line_can_have() {
    let mut files = Vec::new();
    sources(&root().join("bin/tithe/src"), &mut files);
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        sources(&entry.unwrap().path().join("src"), &mut files);
    }
    let listed = listed_fields();
    let mut used = BTreeSet::new();
    for file in files {
        for field in fields_of(&fs::read_to_string(&file).unwrap()) {
            assert!(listed.contains_key(&field), "{}: {field} is not listed", file.display());
            used.insert(field);
        }
    }
    assert!(used.contains("payment_hash") && used.contains("job_id") && used.len() > 60, "{used:?}");
    let number =
        |name: &str| ["_ms", "_msats", "_tokens", "_percent"].iter().any(|unit| name.ends_with(unit));
    for (name, kind) in &listed {
        assert!(!number(name) || kind == "number", "{name} is a {kind}");
    }
}
