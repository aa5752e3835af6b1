//! Requests that an install's plan includes: the share of the cloud, hardware, licences, limits, and deaths.

use crate::server::Server;
use crate::test_env::{TestEnv, on_both_stores};
use crate::{all_of, text};
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_stores! {
    the_cloud_does_its_share_hardware_the_rest_and_then_nobody,
    a_killed_server_s_credit_comes_back_by_itself,
    a_licence_is_accepted_until_it_is_revoked_or_its_key_is_retired,
}

/// How long things may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often something that changes by itself is read.
const PAUSE: Duration = Duration::from_millis(100);

const ONE: &str = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";
const TWO: &str = "5b1f0c9e-2a7d-4c86-8f3e-91d4a6b7c802";
const THREE: &str = "9d3a7e54-c0b1-4e2f-b6a8-3f5c7d9e1b24";

const ADMIN_TOKEN: &str = "an-admin-token-of-ours";

/// An answer: its status, its headers and its body.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// The body of an answer with status 200.
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The problem of an answer with this status and code.
    fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.body);
        self.body
    }

    fn retry_after(&self) -> u64 {
        self.headers["retry-after"].to_str().unwrap().parse().unwrap()
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn send(prepare: impl FnOnce(&Client) -> RequestBuilder) -> reqwest::Result<Answer> {
    block_on(async {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let answer = prepare(&client).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, body: answer.json().await? })
    })
}

/// An install, perhaps with a licence.
struct Install<'a> {
    server: &'a Server,
    id: &'a str,
    licence: Option<&'a str>,
}

impl<'a> Install<'a> {
    fn core(server: &'a Server, id: &'a str) -> Self {
        Self { server, id, licence: None }
    }

    fn licensed(server: &'a Server, id: &'a str, licence: &'a str) -> Self {
        Self { server, id, licence: Some(licence) }
    }

    fn presented(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("X-Install-Id", self.id);
        self.licence.iter().fold(request, |request, licence| request.header("X-License", *licence))
    }

    fn ask(&self, request: &str) -> Answer {
        let body = json!({ "request": request, "maxOutputTokens": 60 });
        send(|client| self.presented(client.post(self.server.url("/api/ask"))).json(&body)).unwrap()
    }

    fn read(&self) -> Answer {
        send(|client| self.presented(client.get(self.server.url("/api/credits")))).unwrap()
    }

    fn credits(&self) -> Value {
        self.read().ok()
    }
}

/// The audit's report, which must be sound and count so many installs and credits. The servers have logged no id: whoever knows one can
/// use its credits.
fn audited(env: &TestEnv, installs: u64, credits: u64) -> Value {
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!([ONE, TWO, THREE].iter().all(|id| !log.contains(id)), "{log}");
    let report = env.audit();
    let counted = (&report["installs"], &report["credits"]);
    assert_eq!(counted, (&json!(installs), &json!(credits)), "{report:#}");
    report
}

fn the_cloud_does_its_share_hardware_the_rest_and_then_nobody(env: &TestEnv) {
    let settings = [("TITHE_HARDWARE", "sim"), ("TITHE_PLAN_CORE", "lifetime:10,cloud:4")];
    let mut server = env.start_with(&settings);
    let install = Install::core(&server, ONE);
    let (mut ran, mut cost) = (Vec::new(), 0);
    for _ in 0..10 {
        let answer = install.ask("Why is the sky blue?");
        let header = answer.headers["x-tithe-backend"].to_str().unwrap().to_owned();
        let reply = answer.ok();
        assert_eq!(reply["backend"], header, "{reply}");
        cost += reply["costMsats"].as_u64().unwrap();
        ran.push((header, reply["model"].as_str().unwrap().to_owned()));
    }
    let on = |backend: &str, model: &str| (backend.to_owned(), model.to_owned());
    assert_eq!(ran[..4], vec![on("cloud", "sim-large"); 4]);
    assert_eq!(ran[4..], vec![on("hardware", "sim-hardware"); 6]);
    let refused = install.ask("Why is the sky blue?").problem(402, "out_of_credits");
    assert_eq!((&refused["reason"], &refused["credits"]["remaining"]), (&json!("cap"), &json!(0)));
    let credits = install.credits();
    assert_eq!((&credits["remaining"], &credits["lifetimeConsumed"]), (&json!(0), &json!(10)));
    assert!(server.stop());
    let report = audited(env, 1, 10);
    assert!(cost > 0);
    assert_eq!(report["accountsMsats"]["revenue"], cost.to_string(), "{report:#}");
}

#[test]
fn hardware_that_does_not_answer_takes_no_credit() {
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[
        ("TITHE_HARDWARE", "openai"),
        ("TITHE_HARDWARE_URL", "http://127.0.0.1:1/v1"),
        ("TITHE_HARDWARE_MODEL", "sim-hardware"),
        ("TITHE_PLAN_CORE", "lifetime:3,cloud:0"),
    ]);
    let install = Install::core(&server, ONE);
    for _ in 0..2 {
        let refused = install.ask("Why is the sky blue?");
        assert!(refused.retry_after() > 0, "{}", refused.body);
        refused.problem(503, "hardware_unavailable");
        let credits = install.credits();
        assert_eq!((&credits["remaining"], &credits["lifetimeConsumed"]), (&json!(3), &json!(0)));
    }
    // The cloud goes on selling.
    let ready = send(|client| client.get(server.url("/readyz"))).unwrap();
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(server.stop());
    let report = audited(&env, 1, 2);
    assert_eq!(report["accountsMsats"]["operator"], "-10000000", "{report:#}");
}

fn a_killed_server_s_credit_comes_back_by_itself(env: &TestEnv) {
    let settings = [("TITHE_LEASE_SECONDS", "1"), ("TITHE_PLAN_CORE", "lifetime:2")];
    let mut server = env.start_with(&settings);
    let url = server.url("/api/ask");
    let asking = std::thread::spawn(move || {
        let body = json!({ "request": "[sim:slow=60000] Why is the sky blue?" });
        send(|client| client.post(url).header("X-Install-Id", ONE).json(&body)).map(|answer| answer.status)
    });
    until_remaining(&server, 1);
    server.kill();
    assert!(asking.join().unwrap().is_err(), "nobody answered");
    audited(env, 1, 1);
    server.restart().unwrap();
    until_remaining(&server, 2);
    let install = Install::core(&server, ONE);
    assert_eq!(install.credits()["lifetimeConsumed"], 0);
    assert_eq!(install.ask("Why is the sky blue?").ok()["credits"]["remaining"], 1);
    assert!(server.stop());
    audited(env, 1, 2);
}

/// Waits until an install has so many requests left.
fn until_remaining(server: &Server, wanted: u64) {
    let began = Instant::now();
    loop {
        let credits = Install::core(server, ONE).credits();
        if credits["remaining"] == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{credits}");
        block_on(async { tokio::time::sleep(PAUSE).await });
    }
}

fn licence(env: &TestEnv, arguments: &[&str]) -> String {
    let ran = env.run(&[&["licence"], arguments].concat());
    assert!(ran.status.success(), "{}", all_of(&ran));
    text(&ran.stdout).trim_end().to_owned()
}

fn issue(env: &TestEnv, install: &str) -> String {
    licence(env, &["issue", "--plan", "pro", "--install", install, "--until", "2999-12-31"])
}

fn signing_key(env: &TestEnv) -> String {
    let keys: Value = serde_json::from_str(&licence(env, &["keys", "--json"])).unwrap();
    keys[0]["id"].as_str().unwrap().to_owned()
}

fn a_licence_is_accepted_until_it_is_revoked_or_its_key_is_retired(env: &TestEnv) {
    let mut server = env.start();
    let old = issue(env, ONE);
    let credits = Install::licensed(&server, ONE, &old).credits();
    assert_eq!((&credits["plan"], &credits["remaining"]), (&json!("pro"), &json!(1_000)), "{credits}");
    let reply = Install::licensed(&server, ONE, &old).ask("Why is the sky blue?").ok();
    assert_eq!((&reply["credits"]["plan"], &reply["credits"]["remaining"]), (&json!("pro"), &json!(999)));
    assert!(reply["credits"]["renewsAt"].is_string(), "{reply}");
    let of_core = Install::core(&server, ONE).credits();
    assert_eq!((&of_core["plan"], &of_core["remaining"]), (&json!("core"), &json!(50)), "{of_core}");
    Install::licensed(&server, TWO, &old).ask("hello").problem(401, "invalid_licence");

    let old_key = signing_key(env);
    licence(env, &["rotate"]);
    let new = issue(env, TWO);
    let refused = Install::licensed(&server, TWO, &new).read().problem(401, "invalid_licence");
    let unknown = format!("expected a current key, got {}", signing_key(env));
    assert!(refused["detail"].as_str().unwrap().contains(&unknown), "{refused}");
    assert!(server.stop());
    server.restart().unwrap();
    for (install, licence, left) in [(ONE, &old, 998), (TWO, &new, 999)] {
        let reply = Install::licensed(&server, install, licence).ask("hello").ok();
        assert_eq!(reply["credits"]["remaining"], left, "{reply}");
    }

    licence(env, &["retire", &old_key]);
    assert!(server.stop());
    server.restart().unwrap();
    let refused = Install::licensed(&server, ONE, &old).ask("hello").problem(401, "invalid_licence");
    let retired = format!("unknown or retired licence key: expected a current key, got {old_key}");
    assert!(refused["detail"].as_str().unwrap().contains(&retired), "{refused}");

    // What is revoked is refused at once.
    assert_eq!(Install::licensed(&server, TWO, &new).credits()["remaining"], 999);
    licence(env, &["revoke", &new]);
    for refused in
        [Install::licensed(&server, TWO, &new).ask("hello"), Install::licensed(&server, TWO, &new).read()]
    {
        let refused = refused.problem(401, "invalid_licence");
        assert!(refused["detail"].as_str().unwrap().contains("revoked"), "{refused}");
    }
    assert_eq!(Install::core(&server, TWO).ask("hello").ok()["credits"]["remaining"], 49);
    assert!(server.stop());
    audited(env, 2, 4);
}

#[test]
fn a_new_install_beyond_the_limit_of_its_address_needs_a_licence() {
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[("TITHE_CREDITS_NEW_INSTALLS", "2")]);
    for install in [ONE, TWO, ONE] {
        Install::core(&server, install).ask("hello").ok();
    }
    server.kill();
    server.restart().unwrap();
    let refused = Install::core(&server, THREE).ask("hello");
    assert!(refused.retry_after() > 0, "{}", refused.body);
    refused.problem(429, "too_many_installs");
    assert_eq!(Install::core(&server, THREE).credits()["remaining"], 50, "reading needs nobody's permission");
    assert_eq!(Install::core(&server, TWO).ask("hello").ok()["credits"]["remaining"], 48);
    let paid = issue(&env, THREE);
    assert_eq!(Install::licensed(&server, THREE, &paid).ask("hello").ok()["credits"]["remaining"], 999);
    // Now the server knows it.
    assert_eq!(Install::core(&server, THREE).ask("hello").ok()["credits"]["plan"], "core");
    assert!(server.stop());
    audited(&env, 3, 6);
}

#[test]
fn installs_are_shown_to_the_holder_of_the_admin_token_only() {
    let env = TestEnv::sqlite();
    let mut server = env.start_with(&[("TITHE_ADMIN_TOKEN", ADMIN_TOKEN)]);
    for install in [TWO, ONE] {
        Install::core(&server, install).ask("hello").ok();
    }
    let get = |server: &Server, path: &str, token: Option<&str>| {
        send(|client| {
            let request = client.get(server.url(&format!("/api/admin/installs{path}")));
            token.into_iter().fold(request, RequestBuilder::bearer_auth)
        })
        .unwrap()
    };
    for token in [None, Some(""), Some("an-admin-token-of-our"), Some(ONE)] {
        for path in ["", "?limit=1", &format!("/{ONE}")] {
            let refused = get(&server, path, token).problem(401, "invalid_admin_token");
            assert!(!refused.to_string().contains(ONE), "{refused}");
        }
    }
    let page = get(&server, "?limit=1", Some(ADMIN_TOKEN)).ok();
    assert_eq!((&page["installs"][0]["installId"], &page["next"]), (&json!(ONE), &json!(ONE)), "{page}");
    let last = get(&server, &format!("?limit=1&after={ONE}"), Some(ADMIN_TOKEN)).ok();
    assert_eq!((&last["installs"][0]["installId"], &last["next"]), (&json!(TWO), &Value::Null), "{last}");
    let one = get(&server, &format!("/{TWO}"), Some(ADMIN_TOKEN)).ok();
    assert_eq!((&one["plan"], &one["remaining"], &one["reserved"]), (&json!("core"), &json!(49), &json!(0)));
    get(&server, &format!("/{THREE}"), Some(ADMIN_TOKEN)).problem(404, "not_found");
    assert!(server.stop());
    let log = std::fs::read_to_string(env.path().join("server.log")).unwrap();
    assert!(!log.contains(ADMIN_TOKEN) && !server.banner.contains(ADMIN_TOKEN));
    env.audit();

    let without = env.start();
    for token in [None, Some(""), Some(ADMIN_TOKEN)] {
        get(&without, "", token).problem(404, "not_found");
    }
}
