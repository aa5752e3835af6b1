//! What a failure of the database means: whether to retry, and what to report.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolError;
use diesel_async::pooled_connection::bb8::RunError;
use std::sync::{Arc, Mutex, PoisonError};
use tithe_engine::store::StoreError;
use tokio_postgres::error::SqlState;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a transaction attempt failed. Nothing has changed, except possibly after [`Failure::Unknown`].
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another transaction was in the way: retry at once.
    Conflict(Cause),
    /// The database is unreachable, restarting, read-only or out of a resource: retry a little later.
    Unavailable(Cause),
    /// The connection was lost during the commit: it may have committed or not.
    Unknown(Cause),
    /// The database refuses the statement: a retry would be refused too.
    Refused(Cause),
    /// A row cannot be read.
    Row(StoreError),
}

impl Failure {
    /// The name of the failure, for metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Unavailable(_) => "unavailable",
            Self::Unknown(_) => "unknown",
            Self::Refused(_) => "refused",
            Self::Row(_) => "corrupt",
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict(cause) | Failure::Refused(cause) => Self::Failed(cause),
            Failure::Unavailable(cause) => Self::Unavailable(cause),
            Failure::Unknown(cause) => Self::OutcomeUnknown(cause),
            Failure::Row(cause) => cause,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(cause: StoreError) -> Self {
        Self::Row(cause)
    }
}

/// An error of the database without its details, which quote rows: those may hold secrets.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}{}", constraint.as_ref().map(|name| format!(" (constraint {name})")).unwrap_or_default())]
struct Redacted {
    code: String,
    message: String,
    constraint: Option<String>,
}

/// An error without what must not be logged.
pub(crate) fn redacted(cause: &tokio_postgres::Error) -> Cause {
    let Some(said) = cause.as_db_error() else {
        // An error of the connection, with its cause.
        let why = std::error::Error::source(cause).map(|why| format!(": {why}")).unwrap_or_default();
        return format!("{cause}{why}").into();
    };
    Box::new(Redacted {
        code: said.code().code().to_owned(),
        message: said.message().to_owned(),
        constraint: said.constraint().map(str::to_owned),
    })
}

impl From<tokio_postgres::Error> for Failure {
    fn from(cause: tokio_postgres::Error) -> Self {
        let (code, cause) = (cause.code().cloned(), redacted(&cause));
        let Some(code) = code else { return Self::Unavailable(cause) };
        // Another transaction has made the row since it was looked up.
        if code == SqlState::UNIQUE_VIOLATION {
            return Self::Conflict(cause);
        }
        // The last one: the queue of NOTIFY is full because a listener does not read.
        let unavailable = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::PROGRAM_LIMIT_EXCEEDED,
        ];
        if unavailable.contains(&code) {
            return Self::Unavailable(cause);
        }
        // https://www.postgresql.org/docs/current/errcodes-appendix.html, by class
        match code.code().get(..2) {
            Some("40") => Self::Conflict(cause),
            // Connection, idle time-outs, resources, shutting down or time-out, the system.
            Some("08" | "25" | "53" | "57" | "58") => Self::Unavailable(cause),
            _ => Self::Refused(cause),
        }
    }
}

impl Failure {
    /// Whether the database did not answer in time.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Unavailable(cause) | Self::Unknown(cause) => cause.is::<tokio::time::error::Elapsed>(),
            Self::Conflict(_) | Self::Refused(_) | Self::Row(_) => false,
        }
    }

    /// The failure when a connection was being made: no command is at fault.
    pub(crate) fn connecting(self) -> Self {
        match self {
            Self::Refused(cause) | Self::Conflict(cause) => Self::Unavailable(cause),
            other => other,
        }
    }
}

/// Why the pool's last attempt to connect failed. The pool itself only says that it took too long.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastFailure(Arc<Mutex<Option<String>>>);

/// The pool has no connection to give.
#[derive(Debug, thiserror::Error)]
#[error("no connection to the database: {cause}{}", last.as_ref().map(|last| format!("; the last attempt: {last}")).unwrap_or_default())]
struct NoConnection {
    cause: String,
    last: Option<String>,
}

impl LastFailure {
    /// The failure of a pool that gave no connection, with what was behind it.
    pub(crate) fn behind(&self, cause: &RunError) -> Failure {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Failure::Unavailable(Box::new(NoConnection { cause: cause.to_string(), last }))
    }
}

impl bb8::ErrorSink<PoolError> for LastFailure {
    fn sink(&self, error: PoolError) {
        let error: &dyn std::error::Error = &error;
        let chain = std::iter::successors(Some(error), |error| error.source());
        let chain: Vec<String> = chain.map(ToString::to_string).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain.join(": "));
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<PoolError>> {
        Box::new(self.clone())
    }
}

/// Whether a failed `COMMIT` may nevertheless have committed.
pub(crate) fn may_have_committed(cause: &tokio_postgres::Error) -> bool {
    match cause.code() {
        None => true,
        Some(code) => {
            *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
                || matches!(code.code().get(..2), Some("08" | "57"))
        }
    }
}

impl From<DieselError> for Failure {
    fn from(cause: DieselError) -> Self {
        let DieselError::DatabaseError(kind, _) = &cause else { return Self::Refused(cause.into()) };
        match kind {
            DatabaseErrorKind::SerializationFailure => Self::Conflict(cause.into()),
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::ReadOnlyTransaction => Self::Unavailable(cause.into()),
            // diesel drops the code of all others: a deadlock, a server that shuts down, or a bug. A few retries show
            // which.
            DatabaseErrorKind::Unknown => Self::Conflict(cause.into()),
            _ => Self::Refused(cause.into()),
        }
    }
}
