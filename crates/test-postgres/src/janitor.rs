//! The thread that creates and removes databases. It has its own runtime, because a test's runtime may be gone when its
//! database is dropped, or there may be none.

#![expect(clippy::expect_used, reason = "this is tests: a panic is how they fail")]

use std::env;
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::sql::{connect, explain, is_passing};
use crate::{Cluster, ClusterOptions, URL_VARIABLE};

/// Copies overlap well: each of four at once takes 6 ms, one after the other 13 ms (2 cores).
const WORKERS: usize = 4;

/// The number of attempts if the connection breaks.
const TRIES: u32 = 3;

/// PostgreSQL 15 is the first that can be told how to copy.
const FIRST_WITH_STRATEGY: i32 = 150_000;

/// How the connections of janitors are called; a token follows, which the names of their databases have too.
const APPLICATION: &str = "tithe-test-postgres";

type Answer<T> = oneshot::Sender<Result<T, String>>;

enum Request {
    Address(Answer<String>),
    Create { name: String, template: String, answer: Answer<()> },
    Drop { name: String },
}

/// This process's janitor.
pub struct Janitor {
    requests: UnboundedSender<Request>,
}

impl Janitor {
    /// The janitor, who starts the run's server first if there is none yet.
    pub fn get() -> &'static Self {
        static JANITOR: OnceLock<Janitor> = OnceLock::new();
        JANITOR.get_or_init(|| {
            let (requests, receiver) = unbounded_channel();
            thread::Builder::new()
                .name(APPLICATION.to_owned())
                .spawn(|| work(receiver))
                .expect("the system starts a thread");
            Self { requests }
        })
    }

    /// The URL of the server's administrative database.
    pub async fn address(&self) -> Result<String, String> {
        self.ask(Request::Address).await
    }

    /// Copies a database.
    pub async fn create(&self, name: &str, template: &str) -> Result<(), String> {
        let (name, template) = (name.to_owned(), template.to_owned());
        self.ask(|answer| Request::Create { name, template, answer }).await
    }

    /// Removes a database in the background.
    pub fn drop_database(&self, name: String) {
        // A janitor who is gone has taken the server along.
        let _ = self.requests.send(Request::Drop { name });
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.requests.send(request(answer));
        answered.await.unwrap_or_else(|_| Err("the janitor of the test databases is gone".to_owned()))
    }
}

/// What no other process's databases have in their names.
pub fn token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| format!("{:016x}", getrandom::u64().expect("the system has random bytes")))
}

fn work(requests: UnboundedReceiver<Request>) {
    // On this thread's stack for the life of the process; its guardian stops it after that.
    let mut cluster = None;
    let named = env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty());
    let url = named.map_or_else(
        || {
            let cluster =
                cluster.insert(Cluster::start(ClusterOptions::shared()).map_err(|error| error.to_string())?);
            Ok(cluster.url("postgres"))
        },
        Ok,
    );
    let requests = Arc::new(Mutex::new(requests));
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().expect("the system has what tokio needs");
    runtime.block_on(async {
        tokio::spawn(Worker { url: url.clone(), connection: None }.sweep());
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                let worker = Worker { url: url.clone(), connection: None };
                tokio::spawn(worker.run(Arc::clone(&requests)))
            })
            .collect();
        for worker in workers {
            let _ = worker.await;
        }
    });
}

struct Worker {
    url: Result<String, String>,
    connection: Option<Connection>,
}

struct Connection {
    client: Client,
    strategy: &'static str,
}

impl Worker {
    async fn run(mut self, requests: Arc<Mutex<UnboundedReceiver<Request>>>) {
        loop {
            let request = requests.lock().await.recv().await;
            let Some(request) = request else { return };
            match request {
                Request::Address(answer) => {
                    let _ = answer.send(self.url.clone());
                }
                Request::Create { name, template, answer } => {
                    // Nobody may be waiting any more, and then nobody will drop it.
                    if answer.send(self.create(&name, &template).await).is_err() {
                        let _ = self.drop_database(&name).await;
                    }
                }
                // If it cannot be done, a later process does it.
                Request::Drop { name } => {
                    let _ = self.drop_database(&name).await;
                }
            }
        }
    }

    async fn create(&mut self, name: &str, template: &str) -> Result<(), String> {
        self.execute(|strategy| format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\" {strategy}"))
            .await
    }

    async fn drop_database(&mut self, name: &str) -> Result<(), String> {
        self.execute(|_| format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await
    }

    /// Executes the statement, on a new connection if the current one is broken.
    async fn execute(&mut self, statement: impl Fn(&str) -> String) -> Result<(), String> {
        let mut tries = 0;
        loop {
            tries += 1;
            let connection = self.connection().await?;
            let statement = statement(connection.strategy);
            match connection.client.batch_execute(&statement).await {
                Ok(()) => return Ok(()),
                // The name is ours alone: the try before this one has done it, and could not say so.
                Err(error) if tries > 1 && error.code() == Some(&SqlState::DUPLICATE_DATABASE) => {
                    return Ok(());
                }
                Err(error) if tries < TRIES && is_passing(&error) => self.connection = None,
                Err(error) => return Err(format!("{statement}: {}", explain(&error))),
            }
        }
    }

    async fn connection(&mut self) -> Result<&Connection, String> {
        let connection = match self.connection.take().filter(|connection| !connection.client.is_closed()) {
            Some(connection) => connection,
            None => Connection::open(self.url.as_deref().map_err(ToOwned::to_owned)?).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Removes the databases of processes that ended before their janitor could remove them.
    async fn sweep(mut self) -> Result<(), String> {
        const LEFT: &str = "SELECT d.datname::text FROM pg_database d WHERE d.datname ~ '^t_[0-9a-f]{16}_[0-9]+$' AND \
            NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname \
                OR a.application_name = $1 || ' ' || substr(d.datname, 3, 16))";
        let rows = self.connection().await?.client.query(LEFT, &[&APPLICATION]).await;
        for row in rows.map_err(|error| explain(&error))? {
            let name: String = row.get(0);
            self.drop_database(&name).await?;
        }
        Ok(())
    }
}

impl Connection {
    async fn open(url: &str) -> Result<Self, String> {
        let client = connect(url, &format!("{APPLICATION} {}", token())).await?;
        let version = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await;
        let version: i32 = version.map_err(|error| explain(&error))?.get(0);
        // 6 to 13 ms, and 18 to 31 ms with WAL_LOG: its checkpoints cost little where nothing is synced.
        let strategy = if version >= FIRST_WITH_STRATEGY { "STRATEGY FILE_COPY" } else { "" };
        Ok(Self { client, strategy })
    }
}
