//! Opening the database.

use crate::migrate::{self, MigrateError};
use crate::steps::Origin;
use crate::tls::{self, Verify};
use crate::transaction::Transactions;
use crate::url::{Address, UrlError};
use crate::writer::Writer;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;
use uuid::Uuid;

diesel::define_sql_function!(fn current_setting(name: diesel::sql_types::Text) -> diesel::sql_types::Text);
diesel::define_sql_function!(fn gen_random_uuid() -> diesel::sql_types::Uuid);

/// How long the database lets a transaction of a server that has vanished stand in the way of others.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// How the database is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresSettings {
    /// How many connections the pool has. Two more are kept: one writes batches, one listens.
    pub connections: u32,
    /// How long an operation is tried, over lost connections and restarts, before its caller is told that the database is
    /// not available; also how long it waits for a connection of the pool.
    pub patience: Duration,
    /// How long the database may work on one statement.
    pub statement_timeout: Duration,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self { connections: 8, patience: Duration::from_secs(5), statement_timeout: Duration::from_secs(10) }
    }
}

/// Why the database could not be opened. No message shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// TLS cannot be set up.
    #[error("TLS to the database cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody answers there, or lets us in.
    #[error("the database at {at} cannot be reached")]
    Connect {
        /// Host, port and name of the database.
        at: String,
        /// What went wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its tables are not those that this program needs, and it was not asked to change them.
    #[error(
        "the tables of the database at {at} are not up to date ({pending} steps are missing); run `tithe migrate`"
    )]
    Outdated {
        /// Host, port and name of the database.
        at: String,
        /// How many.
        pending: usize,
    },
    /// Its tables cannot be brought up to date.
    #[error("the tables of the database at {at} cannot be brought up to date")]
    Migrate {
        /// Host, port and name of the database.
        at: String,
        /// What went wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The store.
#[derive(Clone)]
pub struct PostgresStore {
    pub(crate) connector: Arc<Connector>,
    pub(crate) pool: Pool<AsyncPgConnection>,
    pub(crate) transactions: Transactions,
    pub(crate) writer: Arc<Mutex<Writer>>,
    pub(crate) origin: Origin,
}

impl PostgresStore {
    /// Checks a URL without connecting to anything.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn check_url(url: &str) -> Result<(), UrlError> {
        Address::parse(url).map(drop)
    }

    /// The version of the tables that this program knows: the name of the last step that made them.
    #[must_use]
    pub fn schema_version() -> String {
        migrate::version()
    }

    /// Brings the tables up to date, under a lock: of several programs that try at once, one does it. Says how many steps
    /// were missing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate(url: &str, settings: PostgresSettings) -> Result<usize, OpenError> {
        let connector = Connector::new(url, settings)?;
        let at = || connector.at.clone();
        let connection = connector.patiently().await;
        let connection = connection.map_err(|cause| OpenError::Connect { at: at(), cause })?;
        migrate::run(connection).await.map_err(|MigrateError(cause)| OpenError::Migrate { at: at(), cause })
    }

    /// Host, port and name of the database, for people.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.connector.at
    }

    /// Brings the tables up to date and opens the database.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        Self::migrate(url, settings).await?;
        Self::connect(url, settings).await
    }

    /// Opens a database whose tables are up to date. Tables that are ahead of this program are fine: a newer one is being
    /// rolled out.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        let connector = Arc::new(Connector::new(url, settings)?);
        let at = || connector.at.clone();
        let unreachable = |cause| OpenError::Connect { at: at(), cause };
        let mut first = connector.patiently().await.map_err(unreachable)?;
        connector.warn_of_settings(&mut first).await;
        let name = diesel::select(gen_random_uuid()).get_result::<Uuid>(&mut first).await;
        let origin = Origin::new(&name.map_err(|cause| unreachable(cause.into()))?.to_string());
        let pending = migrate::pending(first).await;
        let pending = pending.map_err(|MigrateError(cause)| OpenError::Migrate { at: at(), cause })?;
        if pending > 0 {
            return Err(OpenError::Outdated { at: at(), pending });
        }
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let shared = Arc::clone(&connector);
        config.custom_setup = Box::new(move |_| {
            let connector = Arc::clone(&shared);
            async move { connector.diesel(Purpose::Short).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config("", config);
        let pool = Pool::builder()
            .max_size(settings.connections.max(1))
            .connection_timeout(settings.patience)
            .build(manager)
            .await
            .map_err(|cause| unreachable(cause.into()))?;
        let transactions = Transactions::new(settings.patience);
        let writer = Arc::new(Mutex::new(Writer::new(Arc::clone(&connector), origin.clone())));
        Ok(Self { connector, pool, transactions, writer, origin })
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Transactions that are over in a moment.
    Short,
    /// The batches: short ones, through few statements whose plans never change.
    Batches,
    /// Reading or changing everything, or listening.
    Long,
}

/// Makes connections.
pub(crate) struct Connector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    pub(crate) settings: PostgresSettings,
    /// Host, port and name of the database, for people.
    at: String,
}

impl Connector {
    fn new(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        let Address { mut config, verify } = Address::parse(url)?;
        let tls = tls::connector(&verify).map_err(|cause| OpenError::Tls(cause.into()))?;
        if config.get_application_name().is_none() {
            config.application_name("tithe");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(settings.patience);
        }
        // A peer that has vanished is noticed within seconds, not hours.
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(settings.statement_timeout);
        }
        let at = at(&config);
        let remote = config.get_hosts().iter().any(|host| !is_here(host));
        if remote && verify == Verify::Nothing {
            warn!(
                at,
                "the database's identity is not verified; sslmode=verify-full in its URL verifies it{}",
                if config.get_ssl_mode() == SslMode::Require {
                    ""
                } else {
                    ", and makes sure that nobody listens"
                }
            );
        }
        Ok(Self { config, tls, settings, at })
    }

    /// A connection, and its other half, which must be driven.
    pub(crate) async fn client(
        &self,
    ) -> Result<(Client, Connection<Socket, impl TlsStream + Unpin + Send + 'static>), tokio_postgres::Error>
    {
        self.config.connect(self.tls.clone()).await
    }

    /// The first connection of a program: a database that is just starting is waited for, one that refuses is not.
    async fn patiently(&self) -> Result<AsyncPgConnection, Box<dyn std::error::Error + Send + Sync>> {
        let mut tries = Transactions::new(self.settings.patience).begin("connect");
        while let Err(cause) = self.client().await {
            let told = bad_connection(&cause);
            if tries.again(cause.into()).await.is_err() {
                return Err(told.into());
            }
        }
        Ok(self.diesel(Purpose::Long).await?)
    }

    /// A connection for diesel.
    pub(crate) async fn diesel(&self, purpose: Purpose) -> ConnectionResult<AsyncPgConnection> {
        let (client, connection) = self.client().await.map_err(|cause| bad_connection(&cause))?;
        let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
        let set_up = connection.batch_execute(&self.session(purpose)).await;
        set_up.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    /// The statements that set a session up.
    pub(crate) fn session(&self, purpose: Purpose) -> String {
        // What was acknowledged is on disk. A setting that promises more than that (replicas) stays.
        let always = "SET default_transaction_isolation = 'read committed';
            SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';";
        let millis = |duration: Duration| duration.as_millis().max(1);
        let limits = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};",
            millis(self.settings.statement_timeout),
            millis(self.settings.patience),
            millis(IDLE_IN_TRANSACTION),
        );
        // Each statement looks rows up by key, however many rows there are: planned once, by index.
        let plans =
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
            SET enable_mergejoin = off; SET enable_bitmapscan = off;";
        match purpose {
            Purpose::Long => always.to_owned(),
            Purpose::Short => format!("{always} {limits}"),
            Purpose::Batches => format!("{always} {limits} {plans}"),
        }
    }

    /// Says loudly what makes money unsafe.
    async fn warn_of_settings(&self, connection: &mut AsyncPgConnection) {
        for name in ["fsync", "full_page_writes"] {
            let value: Result<String, _> = diesel::select(current_setting(name)).get_result(connection).await;
            if value.is_ok_and(|value| value == "off") {
                warn!(at = self.at, "{name} is off in the database: a crash of its machine loses money");
            }
        }
    }
}

fn bad_connection(cause: &tokio_postgres::Error) -> ConnectionError {
    let mut text = cause.to_string();
    let mut source = std::error::Error::source(cause);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    ConnectionError::BadConnection(text)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn at(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let host = |(n, host): (usize, &Host)| {
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        }
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}
