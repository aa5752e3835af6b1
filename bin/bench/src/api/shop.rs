//! What is measured: the program `tithe`, its database, and the mock upstream that it asks.

use super::upstream::Generated;
use crate::fixture::{self, FUNDS};
use crate::process::{self, Machine, Memory, Server};
use crate::prompt::MODEL;
use crate::server::SECRET;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tithe_clock::Timestamp;
use tithe_engine::audit::audit;
use tithe_money::{BasisPoints, BtcPrice, UsdMicros};
use tithe_pricing::{BtcQuote, Catalogue, Terms, Usage};
use tithe_test_postgres::Cluster;
use tokio::runtime::Runtime;

/// The terms that the program is given.
const BTC_PRICE_USD: &str = "100000";
const MARGIN_PCT: u32 = 40;

/// The program, its database and its upstream.
pub(super) struct Shop {
    pub(super) runtime: Runtime,
    pub(super) upstream: Server,
    tithe: Child,
    /// The address of the program.
    pub(super) address: String,
    cluster: Option<Cluster>,
    url: String,
    sessions: u32,
    _folder: TempDir,
}

impl Shop {
    /// Opens funded sessions, and starts everything.
    pub(super) fn open(sqlite: bool, sessions: u32) -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cluster = (!sqlite).then(fixture::cluster);
        let url = match &cluster {
            Some(cluster) => {
                cluster.create_database("tithe").unwrap();
                cluster.url("tithe")
            }
            None => format!("sqlite://{}", folder.path().join("tithe.db").display()),
        };
        runtime.block_on(async {
            let store = fixture::open(&url).await;
            fixture::open_sessions(store.as_ref(), sessions, false).await;
            drop(store);
            if cluster.is_some() {
                fixture::execute(&url, "VACUUM ANALYZE").await;
                fixture::execute(&url, "CHECKPOINT").await;
            }
        });
        let upstream = Server::run("upstream-internal", [""; 0]);
        let (tithe, address) = start(&folder, &url, &upstream);
        Self { runtime, upstream, tithe, address, cluster, url, sessions, _folder: folder }
    }

    /// The CPU time used so far.
    pub(super) fn cpu(&self) -> Cpu {
        Cpu {
            server: process::cpu_seconds(self.tithe.id()),
            database: self
                .cluster
                .as_ref()
                .map_or(0.0, |cluster| process::cluster_cpu_seconds(cluster.folder())),
            upstream: self.upstream.cpu_seconds(),
            client: process::our_cpu_seconds(),
            machine: Machine::now(),
        }
    }

    /// The memory of the program.
    pub(super) fn memory(&self) -> Memory {
        Memory::of(self.tithe.id())
    }

    /// How many batches the program has committed; none is counted on SQLite.
    pub(super) fn batches(&self) -> i64 {
        if self.cluster.is_none() {
            return 0;
        }
        let query = "SELECT coalesce(sum(batch), 0)::bigint FROM committers";
        self.runtime.block_on(fixture::number(&self.url, query))
    }

    /// Lets streams that keep a pace end.
    pub(super) fn release(&self) {
        let _done = get(&self.upstream.address, "/release");
    }

    /// Stops the program, and checks that the books balance and that what was charged is the price of what the upstream says that it
    /// has generated. Returns the number of its answers.
    pub(super) fn close(mut self) -> u64 {
        let stopped = Command::new("kill").args(["-TERM", &self.tithe.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        let ended = self.tithe.wait().unwrap();
        assert!(ended.success(), "tithe ended with {ended}");
        let generated: Vec<Generated> =
            serde_json::from_str(&get(&self.upstream.address, "/generated")).unwrap();
        let report = self.runtime.block_on(async {
            let store = fixture::open(&self.url).await;
            audit(store.as_ref()).await.unwrap()
        });
        assert!(report.findings.is_empty(), "the books are not sound: {:?}", report.findings);
        let charged = i128::from(self.sessions) * i128::from(FUNDS) - report.sessions_msats;
        let price = |one: &Generated| i128::from(one.answers) * i128::from(price_msats(one));
        let worth: i128 = generated.iter().map(price).sum();
        assert_eq!(charged, worth, "what was charged, and the price of what was generated: {generated:?}");
        generated.iter().map(|one| one.answers).sum()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _gone = self.tithe.kill();
        let _waited = self.tithe.wait();
    }
}

/// The price of one answer.
fn price_msats(generated: &Generated) -> u64 {
    let as_of = Timestamp::UNIX_EPOCH;
    let terms = Terms {
        margin: BasisPoints::new(MARGIN_PCT * 100).unwrap(),
        fixed_cost: UsdMicros::ZERO,
        btc: BtcQuote { price: BtcPrice::parse(BTC_PRICE_USD).unwrap(), as_of },
    };
    let &Generated { input_tokens, output_tokens, .. } = generated;
    let usage = Usage { input_tokens, output_tokens, ..Usage::ZERO };
    let catalogue = Catalogue::built_in();
    let rates = catalogue.model(MODEL).unwrap().rates_at(as_of);
    rates.price(&usage, &terms).unwrap().msats.get()
}

/// Starts `tithe serve`. Returns its process and its address.
fn start(folder: &TempDir, url: &str, upstream: &Server) -> (Child, String) {
    let program = std::env::current_exe().unwrap().with_file_name("tithe");
    assert!(program.exists(), "{} is missing: cargo build --release --package tithe", program.display());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if ["TITHE_", "FREE_TIER_"].iter().any(|ours| name.starts_with(ours)) {
            command.env_remove(name);
        }
    }
    let data: PathBuf = folder.path().join("data");
    let backend = format!("http://{}/v1", upstream.address);
    let settings = [
        ("DATABASE_URL", url),
        ("TITHE_DATA_DIR", &data.display().to_string()),
        ("TITHE_DEV", "1"),
        ("TITHE_LISTEN", "127.0.0.1:0"),
        // The play wallet knows nothing of the sessions that the benchmark has opened.
        ("TITHE_LOG", "warn,tithe_engine::reconciliation=off"),
        ("TITHE_TOKEN_SECRET", SECRET),
        ("TITHE_INFERENCE", "openai"),
        ("TITHE_INFERENCE_URL", &backend),
        ("TITHE_EVAL_MODEL", MODEL),
        ("TITHE_WORK_MODEL", MODEL),
        ("TITHE_BTC_PRICE_USD", BTC_PRICE_USD),
        ("TITHE_MARGIN_PCT", &MARGIN_PCT.to_string()),
        // The load comes from one address.
        ("TITHE_REQUESTS_PER_SECOND", "0"),
        ("TITHE_MAX_CONNECTIONS_PER_ADDRESS", "100000"),
        ("TITHE_MAX_STREAMS_PER_ADDRESS", "100000"),
        ("TITHE_SESSION_REQUESTS", "10000"),
    ];
    let mut tithe = command.arg("serve").envs(settings).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tithe.stdout.take().unwrap());
    let mut address = None;
    while address.is_none() {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "tithe did not start");
        address = line.trim().split_once("http://").map(|(_, address)| address.to_owned());
    }
    // Whatever else it prints is read, so that it never waits for that.
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    let address = address.unwrap();
    while !get(&address, "/readyz").contains("\"status\":\"ready\"") {
        std::thread::yield_now();
    }
    (tithe, address)
}

/// The body of a response.
fn get(address: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// CPU time, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Cpu {
    server: f64,
    database: f64,
    upstream: f64,
    client: f64,
    machine: Machine,
}

/// CPU time in microseconds per operation.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) server: f64,
    pub(super) database: f64,
    pub(super) upstream: f64,
    pub(super) client: f64,
    /// The share of the machine that other programs used.
    pub(super) others: f64,
}

impl Cpu {
    /// The CPU time used since `before`.
    pub(super) fn since(self, before: Self, operations: u64) -> Used {
        let of = |part: fn(&Self) -> f64| part(&self) - part(&before);
        let (server, database) = (of(|cpu| cpu.server), of(|cpu| cpu.database));
        let (upstream, client) = (of(|cpu| cpu.upstream), of(|cpu| cpu.client));
        let ours = server + database + upstream + client;
        let each = |seconds| seconds * 1e6 / operations as f64;
        Used {
            server: each(server),
            database: each(database),
            upstream: each(upstream),
            client: each(client),
            others: self.machine.others_since(before.machine, ours),
        }
    }
}
