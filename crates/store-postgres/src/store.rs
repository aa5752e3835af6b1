//! The store: opening it.

use crate::connector::{Connector, Purpose};
use crate::failure::LastFailure;
use crate::migrate::{self, MigrateError};
use crate::open_error::OpenError;
use crate::server_id::ServerId;
use crate::settings::PostgresSettings;
use crate::timelines::Timelines;
use crate::transaction::Transactions;
use crate::url::{Address, UrlError};
use crate::writer::Writer;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use std::sync::Arc;
use tokio::sync::Mutex;
use uuid::Uuid;

diesel::define_sql_function!(fn gen_random_uuid() -> diesel::sql_types::Uuid);

/// The store.
#[derive(Clone)]
pub struct PostgresStore {
    pub(crate) connector: Arc<Connector>,
    pub(crate) pool: Pool<AsyncPgConnection>,
    pub(crate) transactions: Transactions,
    pub(crate) writer: Arc<Mutex<Writer>>,
    /// Held while it is found out whether the database takes writes.
    pub(crate) write_check: Arc<Mutex<()>>,
    pub(crate) server: ServerId,
    pub(crate) last_failure: LastFailure,
}

impl PostgresStore {
    /// Checks a URL without connecting to anything.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn check_url(url: &str) -> Result<(), UrlError> {
        Address::parse(url).map(drop)
    }

    /// The version of the tables that this program knows: the name of the last migration.
    #[must_use]
    pub fn schema_version() -> String {
        migrate::version()
    }

    /// Runs the migrations that are missing, under a lock: of several programs that try at once, one does it. Returns
    /// how many were missing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate(url: &str, settings: PostgresSettings) -> Result<usize, OpenError> {
        Self::migrate_after(url, settings, &Timelines::default()).await
    }

    /// Like [`Self::migrate`], on no older timeline than those that were seen.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn migrate_after(
        url: &str,
        settings: PostgresSettings,
        timelines: &Timelines,
    ) -> Result<usize, OpenError> {
        let connector = Connector::new(url, settings, timelines)?;
        let at = || connector.at().to_owned();
        let mut connection = connector.patiently().await?;
        connector.check_encoding(&mut connection).await?;
        migrate::run(connection).await.map_err(|MigrateError(cause)| OpenError::Migrate { at: at(), cause })
    }

    /// Takes the server of a URL that accepts writes for the newest, whatever was seen before, and describes it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn accept(
        url: &str,
        settings: PostgresSettings,
        timelines: &Timelines,
    ) -> Result<String, OpenError> {
        Connector::new(url, settings, timelines)?.accept().await
    }

    /// Host, port and name of the database, for messages.
    #[must_use]
    pub fn at(&self) -> &str {
        self.connector.at()
    }

    /// Runs the migrations that are missing, and opens the database.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        Self::migrate(url, settings).await?;
        Self::connect(url, settings).await
    }

    /// Opens a database whose tables are up to date. Tables that are ahead of this program are accepted: a newer
    /// version is being rolled out.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self, OpenError> {
        Self::connect_after(url, settings, &Timelines::default()).await
    }

    /// Like [`Self::connect`], on no older timeline than those that were seen, now and later.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect_after(
        url: &str,
        settings: PostgresSettings,
        timelines: &Timelines,
    ) -> Result<Self, OpenError> {
        let connector = Arc::new(Connector::new(url, settings, timelines)?);
        let at = || connector.at().to_owned();
        let unreachable = |cause| OpenError::Connect { at: at(), cause };
        let mut first = connector.patiently().await?;
        connector.check_encoding(&mut first).await?;
        connector.warn_of_settings(&mut first).await;
        let name = diesel::select(gen_random_uuid()).get_result::<Uuid>(&mut first).await;
        let server = ServerId::new(&name.map_err(|cause| unreachable(cause.into()))?.to_string());
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
        let last_failure = LastFailure::default();
        let pool = Pool::builder()
            .max_size(settings.connections.max(1))
            .connection_timeout(settings.patience)
            .error_sink(Box::new(last_failure.clone()))
            .build(manager)
            .await
            .map_err(|cause| unreachable(cause.into()))?;
        let transactions = Transactions::new(settings.patience);
        let writer = Arc::new(Mutex::new(Writer::new(Arc::clone(&connector), server.clone())));
        let write_check = Arc::default();
        Ok(Self { connector, pool, transactions, writer, write_check, server, last_failure })
    }
}
