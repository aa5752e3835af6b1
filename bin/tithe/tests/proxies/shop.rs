//! Two servers on one database, behind a proxy.

use crate::proxy::{Kind, Proxy, free_address, public_url};
use crate::server::{Server, tithe};
use reqwest::{Client, ClientBuilder};
use serde_json::Value;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tithe_test_postgres::TestDatabase;

const METRICS_TOKEN: &str = "metrics-readers-only";

/// What is dropped first is stopped first.
pub(crate) struct Shop {
    pub(crate) proxy: Proxy,
    servers: Vec<Option<Server>>,
    database: TestDatabase,
    folder: TempDir,
}

impl Shop {
    pub(crate) async fn open(kind: Kind, settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::create("empty", async |_| Ok(())).await;
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let url = public_url(matches!(kind, Kind::Nginx | Kind::Caddy), address);
        let shared = [
            ("TITHE_DEV", "1"),
            ("DATABASE_URL", database.url()),
            // As long as a server waits that is not for developers.
            ("TITHE_STOP_NOTICE_SECONDS", "5"),
            ("TITHE_REQUESTS_PER_SECOND", "0"),
            ("TITHE_MAX_UNPAID_PER_ADDRESS", "10000"),
            ("TITHE_TRUSTED_PROXIES", "127.0.0.1"),
            ("TITHE_PUBLIC_URL", &url),
            ("TITHE_METRICS_TOKEN", METRICS_TOKEN),
        ];
        let start = || Some(Server::start(folder.path(), &[&shared, settings].concat()));
        let servers = vec![start(), start()];
        let addresses = [0, 1].map(|n: usize| servers[n].as_ref().unwrap().address.clone());
        let proxy = Proxy::start(kind, address, [&addresses[0], &addresses[1]], folder.path());
        let shop = Self { proxy, servers, database, folder };
        // Caddy makes its certificate when it has begun to listen.
        let (client, health) = (shop.client(None), format!("{}/healthz", shop.proxy.url()));
        let served = async { while client.get(&health).send().await.is_err() {} };
        tokio::time::timeout(Duration::from_mins(1), served).await.unwrap();
        shop
    }

    /// Stops a server, and starts it again where it was.
    pub(crate) async fn restart(&mut self, n: usize) {
        let mut server = self.servers[n].take().unwrap();
        let restarted = tokio::task::spawn_blocking(move || {
            assert!(server.stop(), "the server stops in order");
            server.restart().unwrap();
            server
        });
        self.servers[n] = Some(restarted.await.unwrap());
    }

    /// Waits until the proxy sends customers to a server that was restarted.
    pub(crate) async fn until_used(&self, n: usize) {
        let (http, url) = (client().build().unwrap(), self.servers[n].as_ref().unwrap().url("/metrics"));
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let read = http.get(&url).bearer_auth(METRICS_TOKEN).send().await.unwrap();
            let page = read.text().await.unwrap();
            let mut estimates = page.lines().filter(|line| {
                line.starts_with("tithe_http_requests_total") && line.contains("route=\"/api/estimate\"")
            });
            if estimates.any(|line| !line.ends_with(" 0")) {
                return;
            }
            assert!(Instant::now() < until, "the proxy sends nobody to server {n}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where the servers listen.
    pub(crate) fn addresses(&self) -> [String; 2] {
        [0, 1].map(|n: usize| self.servers[n].as_ref().unwrap().address.clone())
    }

    /// Somebody at an address, who knows the proxy's name.
    pub(crate) fn client(&self, address: Option<IpAddr>) -> Client {
        let builder = match address {
            Some(address) => client().local_address(address),
            None => client(),
        };
        builder.resolve(crate::proxy::NAME, self.proxy.address).build().unwrap()
    }

    /// Proves that no sat was lost.
    pub(crate) fn audit(&self) {
        let mut audit = tithe(self.folder.path());
        let audited =
            audit.args(["audit", "--json"]).env("DATABASE_URL", self.database.url()).output().unwrap();
        let report: Value = serde_json::from_slice(&audited.stdout).unwrap();
        assert_eq!(report["sound"], true, "{report:#}");
    }
}

fn client() -> ClientBuilder {
    // The proxies have signed their certificates themselves.
    let builder = Client::builder().no_proxy().danger_accept_invalid_certs(true);
    builder.timeout(Duration::from_mins(1)).redirect(reqwest::redirect::Policy::none())
}

/// A test that fails shows what its servers and its proxy said.
impl Drop for Shop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for name in ["server.log", "proxy.log"] {
            if let Ok(log) = std::fs::read_to_string(self.folder.path().join(name)) {
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(100)..].join("\n");
                eprintln!("the end of {name}:\n{end}");
            }
        }
    }
}
