//! Making connections.

use crate::open_error::OpenError;
use crate::settings::PostgresSettings;
use crate::tls::{self, Verify};
use crate::transaction::Transactions;
use crate::url::Address;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

diesel::define_sql_function!(fn current_setting(name: diesel::sql_types::Text) -> diesel::sql_types::Text);

/// How long the database keeps a transaction open whose server is gone.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Short transactions.
    Short,
    /// Batches: short transactions of few statements, whose plans never change.
    Batches,
    /// Reading or changing everything, or listening.
    Long,
}

/// Makes connections.
pub(crate) struct Connector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    pub(crate) settings: PostgresSettings,
    /// Host, port and name of the database, for messages.
    at: String,
}

impl Connector {
    /// Host, port and name of the database, for messages.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    pub(crate) fn new(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        let Address { mut config, verify } = Address::parse(url)?;
        let tls = tls::connector(&verify).map_err(|cause| OpenError::Tls(cause.into()))?;
        if config.get_application_name().is_none() {
            config.application_name("tithe");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(settings.patience);
        }
        // A dead peer is detected within seconds, not hours.
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(settings.statement_timeout);
        }
        let at = at(&config);
        let remote = config.get_hosts().iter().any(|host| !is_local(host));
        if remote && verify == Verify::Nothing {
            warn!(
                database = at,
                "the database's identity is not verified; sslmode=verify-full in its URL verifies it{}",
                if config.get_ssl_mode() == SslMode::Require { "" } else { " and enforces encryption" }
            );
        }
        Ok(Self { config, tls, settings, at })
    }

    /// A client, and its connection, which must be polled.
    pub(crate) async fn client(
        &self,
    ) -> Result<(Client, Connection<Socket, impl TlsStream + Unpin + Send + 'static>), tokio_postgres::Error>
    {
        self.config.connect(self.tls.clone()).await
    }

    /// The first connection of a program. A database that is starting is waited for; one that refuses is not.
    pub(crate) async fn patiently(
        &self,
    ) -> Result<AsyncPgConnection, Box<dyn std::error::Error + Send + Sync>> {
        let mut tries = Transactions::new(self.settings.patience).begin("connect");
        while let Err(cause) = self.client().await {
            let described = bad_connection(&cause);
            if tries.again(cause.into()).await.is_err() {
                return Err(described.into());
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
        // Acknowledged commits are on disk. A setting that promises more (replicas) stays.
        let always = "SET default_transaction_isolation = 'read committed';
            SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';";
        let millis = |duration: Duration| duration.as_millis().max(1);
        let limits = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};",
            millis(self.settings.statement_timeout),
            millis(self.settings.patience),
            millis(IDLE_IN_TRANSACTION),
        );
        // Each statement looks rows up by key, however many there are: it is planned once, by index.
        let plans =
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
            SET enable_mergejoin = off; SET enable_bitmapscan = off;";
        match purpose {
            Purpose::Long => always.to_owned(),
            Purpose::Short => format!("{always} {limits}"),
            Purpose::Batches => format!("{always} {limits} {plans}"),
        }
    }

    /// Refuses a database whose encoding cannot hold every text.
    pub(crate) async fn check_encoding(&self, connection: &mut AsyncPgConnection) -> Result<(), OpenError> {
        let encoding: Result<String, _> =
            diesel::select(current_setting("server_encoding")).get_result(connection).await;
        let at = || self.at.clone();
        match encoding {
            Ok(encoding) if encoding == "UTF8" => Ok(()),
            Ok(encoding) => Err(OpenError::Encoding { at: at(), encoding }),
            Err(cause) => Err(OpenError::Connect { at: at(), cause: cause.into() }),
        }
    }

    /// Warns of settings of the database that make money unsafe.
    pub(crate) async fn warn_of_settings(&self, connection: &mut AsyncPgConnection) {
        for name in ["fsync", "full_page_writes"] {
            let value: Result<String, _> = diesel::select(current_setting(name)).get_result(connection).await;
            if value.is_ok_and(|value| value == "off") {
                warn!(
                    database = self.at,
                    "{name} is off in the database: a crash of its machine loses money"
                );
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

fn is_local(host: &Host) -> bool {
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
