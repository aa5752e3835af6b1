//! What a database says of itself, for an operator who checks a configuration.

use crate::connector::Connector;
use crate::migrate::{self, MigrateError};
use crate::open_error::OpenError;
use crate::settings::PostgresSettings;
use crate::store::PostgresStore;
use crate::timelines::Timelines;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;

/// The tables that are looked for, to find out what this user may do, are the ledger's.
const FACTS: &str = "\
    SELECT current_setting('server_version') AS version, \
    pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS is_read_only, \
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted, \
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create, \
    coalesce(has_table_privilege(to_regclass('transfers')::oid, 'INSERT') \
        AND has_table_privilege(to_regclass('accounts')::oid, 'UPDATE'), true) AS may_write, \
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS is_durable, \
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint AS connections, \
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock_micros";

#[derive(QueryableByName)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, and no state")]
struct Row {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
    #[diesel(sql_type = Bool)]
    is_encrypted: bool,
    #[diesel(sql_type = Bool)]
    may_create: bool,
    #[diesel(sql_type = Bool)]
    may_write: bool,
    #[diesel(sql_type = Bool)]
    is_durable: bool,
    #[diesel(sql_type = BigInt)]
    connections: i64,
    #[diesel(sql_type = BigInt)]
    clock_micros: i64,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, and no state")]
pub struct PostgresFacts {
    /// Host, port and name of the database.
    pub at: String,
    /// The server's version.
    pub version: String,
    /// Whether it takes no writes.
    pub is_read_only: bool,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// Whether this user may create tables.
    pub may_create: bool,
    /// Whether this user may write to the tables, as far as there are any.
    pub may_write: bool,
    /// Whether a crash of its machine loses nothing that was committed.
    pub is_durable: bool,
    /// How many connections it allows in all.
    pub connections: i64,
    /// Its time, in microseconds since 1970 began.
    pub clock_micros: i64,
    /// The number of missing migrations.
    pub pending: usize,
}

impl PostgresStore {
    /// Connects once, and asks what the database says of itself. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn facts(url: &str, settings: PostgresSettings) -> Result<PostgresFacts, OpenError> {
        // Whoever asks may have named the wrong database: what is seen of it is not kept.
        let connector = Connector::new(url, settings, &Timelines::default())?;
        let at = connector.at().to_owned();
        let unreachable = |cause| OpenError::Connect { at: at.clone(), cause };
        let mut connection = connector.patiently().await?;
        connector.check_encoding(&mut connection).await?;
        let row: Result<Row, _> = diesel::sql_query(FACTS).get_result(&mut connection).await;
        let row = row.map_err(|cause| unreachable(cause.into()))?;
        let pending = migrate::pending(connection).await;
        let pending = pending.map_err(|MigrateError(cause)| OpenError::Migrate { at: at.clone(), cause })?;
        Ok(PostgresFacts {
            version: row.version,
            is_read_only: row.is_read_only,
            is_encrypted: row.is_encrypted,
            may_create: row.may_create,
            may_write: row.may_write,
            is_durable: row.is_durable,
            connections: row.connections,
            clock_micros: row.clock_micros,
            pending,
            at,
        })
    }
}
