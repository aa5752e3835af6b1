//! A server with two customers: one has paid, one has not.

use crate::server::Server;
use reqwest::Client;
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAID_SATS: u64 = 100_000;

/// What is dropped first is stopped first.
pub(crate) struct Shop {
    server: Server,
    pub(crate) folder: TempDir,
    http: Client,
    session: String,
    /// The key of a session with a balance.
    pub(crate) key: String,
    /// The key of a session that nobody has paid.
    pub(crate) poor_key: String,
}

impl Shop {
    pub(crate) async fn open(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dev = [("TITHE_DEV", "1"), ("TITHE_REQUESTS_PER_SECOND", "0")];
        let server = Server::start(folder.path(), &[&dev, settings].concat());
        let http = Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        let opened = |sats: u64| {
            let sent = http.post(server.url("/api/sessions")).json(&json!({ "amountSats": sats })).send();
            async move { sent.await.unwrap().error_for_status().unwrap().json::<Value>().await.unwrap() }
        };
        let (rich, poor) = (opened(PAID_SATS).await, opened(1_000).await);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pay = server.url(&format!("/dev/stub/pay/{}", text(&rich["invoice"]["paymentHash"])));
        http.post(pay).send().await.unwrap().error_for_status().unwrap();
        let (session, key, poor_key) =
            (text(&rich["sessionId"]), text(&rich["macaroon"]), text(&poor["macaroon"]));
        let shop = Self { server, folder, http, session, key, poor_key };
        assert_eq!(shop.credits().await["balance_msats"], PAID_SATS * 1_000);
        shop
    }

    pub(crate) fn url(&self) -> String {
        self.server.url("")
    }

    /// Runs a customer; says what it printed, whatever has become of it.
    pub(crate) fn try_run(&self, mut customer: Command) -> Output {
        for (name, _) in std::env::vars() {
            if name.starts_with("OPENAI_") || name.starts_with("ANTHROPIC_") {
                customer.env_remove(name);
            }
        }
        // What they fetch or report elsewhere is no part of a test.
        customer
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        let local = "127.0.0.1";
        customer.env("NO_PROXY", local).env("no_proxy", local).env("HOME", self.folder.path());
        customer.env("TITHE_URL", self.url()).env("TITHE_POOR_KEY", &self.poor_key);
        if customer.get_envs().all(|(name, _)| name != "TITHE_KEY") {
            customer.env("TITHE_KEY", &self.key);
        }
        customer.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// Runs a customer who must succeed; returns what it printed.
    pub(crate) fn run(&self, customer: Command) -> String {
        let ran = self.try_run(customer);
        let (printed, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{}\n{printed}\n{wrong}", ran.status);
        printed.into_owned()
    }

    /// Makes the key of another session that of the customers.
    pub(crate) async fn use_key(&mut self, key: String) {
        self.key = key;
        let credits = self.credits().await;
        assert!(credits["balance_msats"].as_u64().unwrap() > 0, "{credits}");
    }

    /// What the session with a balance has and has spent.
    async fn credits(&self) -> Value {
        let read = self.http.get(self.server.url("/v1/credits")).bearer_auth(&self.key).send().await.unwrap();
        read.error_for_status().unwrap().json::<Value>().await.unwrap()["data"].take()
    }

    /// What has been spent, when nothing is held any more.
    pub(crate) async fn spent_msats(&self) -> u64 {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let credits = self.credits().await;
            if credits["held_msats"] == 0 {
                let of = |name: &str| credits[name].as_u64().unwrap();
                assert_eq!(
                    of("balance_msats") + of("total_usage_msats"),
                    of("total_credits_msats"),
                    "{credits}"
                );
                return of("total_usage_msats");
            }
            assert!(Instant::now() < until, "holds are left: {credits}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the session and proves that no sat was lost.
    pub(crate) async fn close(self) {
        let spent = self.spent_msats().await;
        assert!(spent > 0, "nothing was sold");
        let close = self.server.url(&format!("/api/sessions/{}/close", self.session));
        let closed = self.http.post(close).bearer_auth(&self.key).send().await.unwrap();
        let closed: Value = closed.error_for_status().unwrap().json().await.unwrap();
        assert_eq!(closed["refund"]["amountSats"], (PAID_SATS * 1_000 - spent) / 1_000, "{closed}");
        assert_eq!(self.audit()["sessionsMsats"], "0");
    }

    /// Proves that no sat was lost.
    pub(crate) fn audit(&self) -> Value {
        let audited = self.server.run(&["audit", "--json"]);
        let report: Value = serde_json::from_slice(&audited.stdout).unwrap();
        assert_eq!(report["sound"], true, "{report:#}");
        report
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

/// A test that fails shows what the server said.
impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of server.log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
