//! A server at a wallet, and its HTTP API.

use crate::merchant::Setting;
use crate::patience::SOON;
use crate::server::{Server, tithe};
use crate::{all_of, text};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// A server in a folder of its own.
pub(crate) struct Shop {
    pub(crate) server: Server,
    /// More servers on the same data.
    others: Vec<Server>,
    http: reqwest::Client,
    folder: TempDir,
}

impl Shop {
    /// Starts a server. Each sat is worth little, so that what is refunded is more than its routing fee may be.
    pub(crate) fn open(wallet: &[Setting], more: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = vec![
            ("TITHE_BTC_PRICE_USD", "500"),
            ("TITHE_POLL_SECONDS", "1"),
            ("TITHE_STOP_NOTICE_SECONDS", "0"),
        ];
        settings.extend(wallet.iter().map(|(name, value)| (*name, value.as_str())));
        settings.extend_from_slice(more);
        let server = Server::start(folder.path(), &settings);
        // A connection that is kept does not survive the server.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(SOON);
        let http = http.build().unwrap();
        Self { server, others: Vec::new(), http, folder }
    }

    /// Starts another server on the same data and the same wallet.
    pub(crate) fn add_server(&mut self, wallet: &[Setting]) {
        let settings: Vec<_> = wallet.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.others.push(Server::start(self.folder.path(), &settings));
    }

    /// Stops the servers.
    pub(crate) fn close(&mut self) {
        for server in self.others.iter_mut().chain([&mut self.server]) {
            assert!(server.stop());
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Reads a path, with a bearer token if there is one.
    pub(crate) async fn get(&self, path: &str, bearer: Option<&str>) -> Value {
        let mut request = self.http.get(self.server.url(path));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    /// Posts a body, and returns the status with the answer.
    pub(crate) async fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> (u16, Value) {
        let mut request = self.http.post(self.server.url(path)).json(body);
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Sends a request with a proof of payment, or without: posts a body, or reads. Returns the status with the answer.
    pub(crate) async fn ask_proving(
        &self,
        proof: Option<&str>,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let url = self.server.url(path);
        let mut request = match body {
            Some(body) => self.http.post(url).json(body),
            None => self.http.get(url),
        };
        if let Some(proof) = proof {
            request = request.header("Authorization", proof);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Runs the program on the server's data and wallet.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.server.run(arguments)
    }

    /// Runs the program in the server's folder, without the server's settings.
    pub(crate) fn run_bare(&self, arguments: &[&str]) -> Output {
        tithe(self.folder.path()).args(arguments).output().unwrap()
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|wrong| panic!("{arguments:?}: {wrong}: {}", all_of(&output)))
    }
}

/// A test that fails shows what its server has logged.
impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = std::fs::read(self.folder.path().join("server.log"))
        {
            let log = text(&log);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the server's log:\n{}", lines[lines.len().saturating_sub(80)..].join("\n"));
        }
    }
}
