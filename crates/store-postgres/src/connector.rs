//! Making connections.

use crate::connect_error::ConnectError;
use crate::failure::redacted;
use crate::hosts::{OneHost, hosts};
use crate::open_error::OpenError;
use crate::pooler::{Pooled, shared_sessions};
use crate::position::Position;
use crate::settings::PostgresSettings;
use crate::timelines::Timelines;
use crate::tls::{self, Verify};
use crate::transaction::Transactions;
use crate::url::Address;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::StreamExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::{debug, info, warn};

diesel::define_sql_function!(fn current_setting(name: diesel::sql_types::Text) -> diesel::sql_types::Text);

/// How long the database keeps a transaction open whose server is gone.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// How long all hosts of a URL are looked at before one is chosen. One that is cut off does not delay the others for longer.
const COMPARE_FOR: Duration = Duration::from_secs(2);

/// How long one of several hosts may take to accept a connection and to show its timeline. A frozen one answers nothing, and must leave
/// time for the others.
const HOST_DEADLINE: Duration = Duration::from_secs(3);

/// How long one of several hosts may take to accept a TCP connection.
const TCP_DEADLINE: Duration = Duration::from_secs(2);

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

/// Makes connections. All of them are on the newest timeline that was seen: a connection is refused if its server is on an older one,
/// and cut when a newer one is seen.
pub(crate) struct Connector {
    hosts: Vec<OneHost>,
    /// The place of the host that was accepted last.
    preferred: AtomicUsize,
    /// How long a host may take to accept a connection and to show its timeline.
    host_deadline: Duration,
    timelines: Timelines,
    /// Whether it was logged that timelines cannot be read.
    unreadable: AtomicBool,
    tls: MakeRustlsConnect,
    pub(crate) settings: PostgresSettings,
    /// Host, port and name of the database, for messages.
    at: String,
}

/// A client. Its connection is closed when this is dropped.
pub(crate) struct Opened {
    pub(crate) client: Client,
    driver: Driver,
}

/// The task that reads and writes a connection.
struct Driver(Option<AbortHandle>);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Opened {
    /// The client alone. Its connection ends when it is dropped, once what was sent has been answered.
    fn detach(self) -> Client {
        let Self { client, mut driver } = self;
        driver.0 = None;
        client
    }
}

impl Connector {
    /// Host, port and name of the database, for messages.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    pub(crate) fn new(
        url: &str,
        settings: PostgresSettings,
        timelines: &Timelines,
    ) -> Result<Self, OpenError> {
        let Address { mut config, verify } = Address::parse(url)?;
        let tls = tls::connector(&verify).map_err(|cause| OpenError::Tls(cause.into()))?;
        if config.get_application_name().is_none() {
            config.application_name("tithe");
        }
        let several = config.get_hosts().len().max(config.get_hostaddrs().len()) > 1;
        let tcp_deadline = config.get_connect_timeout().copied().unwrap_or(settings.patience);
        let (tcp_deadline, host_deadline) = if several {
            (tcp_deadline.min(TCP_DEADLINE), HOST_DEADLINE)
        } else {
            (tcp_deadline, tcp_deadline.saturating_mul(2).max(HOST_DEADLINE))
        };
        config.connect_timeout(tcp_deadline);
        // A dead peer is detected within seconds, not hours.
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(settings.statement_timeout);
        }
        let hosts = hosts(&config);
        let names: Vec<&str> = hosts.iter().map(|host| host.at.as_str()).collect();
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        let at = format!("{}/{database}", names.join(","));
        let remote = config.get_hosts().iter().any(|host| !is_local(host));
        if remote && verify == Verify::Nothing {
            warn!(
                database = at,
                "the database's identity is not verified; sslmode=verify-full in its URL verifies it{}",
                if config.get_ssl_mode() == SslMode::Require { "" } else { " and enforces encryption" }
            );
        }
        let (timelines, preferred, unreadable) =
            (timelines.clone(), AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self { hosts, preferred, host_deadline, timelines, unreadable, tls, settings, at })
    }

    /// A client of the host that was accepted last, or of the first one that is accepted now. `on_message` receives what the database
    /// says beside its answers.
    pub(crate) async fn client(
        &self,
        on_message: impl FnMut(AsyncMessage) + Clone + Send + 'static,
    ) -> Result<Opened, ConnectError> {
        let preferred = AtomicUsize::load(&self.preferred, Ordering::Relaxed);
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        order.sort_by_key(|n| *n != preferred);
        let mut failure = None;
        for n in order {
            let Some(host) = self.hosts.get(n) else { continue };
            match self.accepted(host, on_message.clone()).await {
                Ok(opened) => {
                    self.preferred.store(n, Ordering::Relaxed);
                    return Ok(opened);
                }
                // A refusal says more than that a standby takes no writes, or that a host is down.
                Err(refused @ ConnectError::Refused(_)) => failure = Some(refused),
                Err(other) => failure = failure.or(Some(other)),
            }
        }
        // A URL has a host.
        Err(failure.unwrap_or(ConnectError::NoHost))
    }

    /// A client of this host, if it is on the newest timeline.
    async fn accepted(
        &self,
        host: &OneHost,
        on_message: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Opened, ConnectError> {
        let (opened, position) = self.open(host, on_message).await?;
        if let Some(position) = position {
            self.check(position, host).await?;
        }
        Ok(opened)
    }

    async fn check(&self, position: Position, host: &OneHost) -> Result<(), ConnectError> {
        let (timelines, at) = (self.timelines.clone(), host.at.clone());
        let checked = tokio::task::spawn_blocking(move || timelines.check(position, &at)).await;
        Ok(checked.map_err(|_panicked| ConnectError::NoHost)??)
    }

    /// A client of this host, and where it is in the history of its cluster; `None` if it is a standby, or if that cannot be found out.
    async fn open(
        &self,
        host: &OneHost,
        mut on_message: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<(Opened, Option<Position>), ConnectError> {
        // A frozen server accepts the TCP connection, because its operating system does, and answers nothing.
        let deadline = Instant::now() + self.host_deadline;
        let connecting = host.config.connect(self.tls.clone());
        let (client, mut connection) = tokio::time::timeout_at(deadline, connecting).await??;
        let (own, timelines) = (Arc::new(OnceLock::<Position>::new()), self.timelines.clone());
        let (known, at) = (Arc::clone(&own), host.at.clone());
        let (found, finding) = oneshot::channel::<()>();
        let driver = tokio::spawn(async move {
            let driving = async {
                let mut messages = futures_util::stream::poll_fn(|context| connection.poll_message(context));
                loop {
                    match messages.next().await {
                        Some(Ok(message)) => on_message(message),
                        // Its failure is every statement's failure too.
                        Some(Err(cause)) => {
                            return debug!(error = %redacted(&cause), "connection to the database failed");
                        }
                        None => return,
                    }
                }
            };
            let overtaken = async {
                let _not_found = finding.await;
                match known.get() {
                    Some(position) => timelines.overtaken(*position).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = driving => {}
                () = overtaken => info!(database = at, "connection to the database closed: it is on an old timeline"),
            }
        });
        let opened = Opened { client, driver: Driver(Some(driver.abort_handle())) };
        let position = match tokio::time::timeout_at(deadline, Position::read(&opened.client)).await? {
            Ok(position) => position,
            Err(cause) if cause.code().is_some_and(|code| !is_passing(code)) => {
                self.warn_of_unreadable(host, &cause);
                None
            }
            Err(cause) => return Err(cause.into()),
        };
        if let Some(position) = position {
            let _first = own.set(position);
        }
        let _driver_gone = found.send(());
        Ok((opened, position))
    }

    fn warn_of_unreadable(&self, host: &OneHost, cause: &tokio_postgres::Error) {
        if !self.unreadable.swap(true, Ordering::Relaxed) {
            warn!(
                database = host.at,
                error = %redacted(cause),
                "the database's timeline cannot be read: an old primary that comes back is not recognised; the database's user needs \
                 EXECUTE on pg_control_system(), pg_current_wal_lsn() and pg_walfile_name(text)"
            );
        }
    }

    /// Looks at all hosts of the URL, so that the newest timeline among them is known before one is chosen, and prefers a host on it.
    pub(crate) async fn compare_hosts(&self) {
        if self.hosts.len() < 2 {
            return;
        }
        let look = async |(n, host)| {
            let opened = tokio::time::timeout(COMPARE_FOR, self.open(host, |_| ())).await;
            Some((n, host, opened.ok()?.ok()?.1?))
        };
        let found = futures_util::future::join_all(self.hosts.iter().enumerate().map(look)).await;
        let mut found: Vec<(usize, &OneHost, Position)> = found.into_iter().flatten().collect();
        let preferred = AtomicUsize::load(&self.preferred, Ordering::Relaxed);
        found.sort_by_key(|(n, _, position)| (std::cmp::Reverse(position.timeline), *n != preferred));
        let mut newest = None;
        for (n, host, position) in found {
            match self.check(position, host).await {
                Ok(()) => newest = newest.or(Some(n)),
                // Whoever connects to it is refused, too.
                Err(refused) => debug!(database = host.at, error = refused.describe(), "host not used"),
            }
        }
        // The one that was preferred may be frozen: it would be waited for at every connection.
        if let Some(newest) = newest {
            self.preferred.store(newest, Ordering::Relaxed);
        }
    }

    /// Takes the host that accepts writes for the newest, whatever was seen before, and describes it.
    pub(crate) async fn accept(&self) -> Result<String, OpenError> {
        let (mut found, mut failure) = (Vec::new(), None);
        for host in &self.hosts {
            match self.open(host, |_| ()).await {
                Ok((_, position)) => found.extend(position.map(|position| (host, position))),
                Err(cause) => failure = failure.or(Some(cause)),
            }
        }
        let at = || self.at.clone();
        match (found.as_slice(), failure) {
            ([(host, position)], _) => {
                let kept = self.timelines.accept(*position, &host.at);
                kept.map_err(|cause| self.open_error(cause.into()))?;
                Ok(format!("{position} at {}", host.at))
            }
            ([], Some(cause)) => Err(self.open_error(cause)),
            (found, _) => Err(OpenError::Accept { at: at(), found: found.len() }),
        }
    }

    fn open_error(&self, cause: ConnectError) -> OpenError {
        let at = self.at.clone();
        match cause {
            ConnectError::Refused(refused) => OpenError::Refused(*refused),
            ConnectError::Pooled(pooled) => OpenError::Pooled(pooled),
            ConnectError::File(cause) => OpenError::Timeline(cause),
            other => OpenError::Connect { at, cause: other.describe().into() },
        }
    }

    /// The first connection of a program. A database that is starting is waited for; one that refuses, or is refused, is not.
    pub(crate) async fn patiently(&self) -> Result<AsyncPgConnection, OpenError> {
        let mut tries = Transactions::new(self.settings.patience).begin("connect");
        loop {
            self.compare_hosts().await;
            match self.client(|_| ()).await {
                Ok(_) => break,
                Err(cause @ (ConnectError::Postgres(_) | ConnectError::Silent(_))) => {
                    let described = cause.describe();
                    if tries.again(cause.into()).await.is_err() {
                        return Err(OpenError::Connect { at: self.at.clone(), cause: described.into() });
                    }
                }
                Err(other) => return Err(self.open_error(other)),
            }
        }
        // The server may freeze meanwhile.
        let looking = tokio::time::timeout(self.settings.answer_deadline(), self.refuse_shared_sessions());
        let looked = looking.await.unwrap_or_else(|late| Err(late.into()));
        looked.map_err(|cause| self.open_error(cause))?;
        let connected = self.diesel(Purpose::Long).await;
        connected.map_err(|cause| OpenError::Connect { at: self.at.clone(), cause: cause.into() })
    }

    /// Refuses a pooler that shares sessions.
    async fn refuse_shared_sessions(&self) -> Result<(), ConnectError> {
        let (one, other) = (self.client(|_| ()).await?, self.client(|_| ()).await?);
        match shared_sessions(&one.client, &other.client).await? {
            Some(how) => Err(Pooled::new(&self.at, how).into()),
            None => Ok(()),
        }
    }

    /// A connection for diesel.
    pub(crate) async fn diesel(&self, purpose: Purpose) -> ConnectionResult<AsyncPgConnection> {
        let client = self.client(|_| ()).await?.detach();
        let mut connection = AsyncPgConnection::try_from(client).await?;
        let session = self.session(purpose);
        let set_up =
            tokio::time::timeout(self.settings.answer_deadline(), connection.batch_execute(&session));
        let set_up = set_up.await.map_err(ConnectError::from)?;
        set_up.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    /// The statements that set a session up.
    pub(crate) fn session(&self, purpose: Purpose) -> String {
        // Acknowledged commits are on disk, and on the synchronous standby if there is one. A setting that promises more stays.
        let always = "SET default_transaction_isolation = 'read committed';
            SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');";
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

/// Whether the database could not answer now: it is starting, stopping, being promoted, or short of something.
fn is_passing(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("08" | "25" | "40" | "53" | "55" | "57" | "58"))
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
