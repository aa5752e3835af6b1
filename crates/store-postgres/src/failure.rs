//! What a failure of the database means: whether to try again, and what to tell.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tithe_engine::store::StoreError;
use tokio_postgres::error::SqlState;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an attempt at a transaction failed. Nothing has changed, but for [`Failure::Unknown`].
#[derive(Debug)]
pub(crate) enum Failure {
    /// Somebody else was in the way: again, at once.
    Raced(Cause),
    /// The database is away, restarting, read-only or out of something: again, a little later.
    Away(Cause),
    /// The connection was lost while it committed: it may have, or not.
    Unknown(Cause),
    /// The database refuses the statement: again would be the same again.
    Refused(Cause),
    /// A row cannot be read.
    Row(StoreError),
}

impl Failure {
    /// What went wrong, in a word, for metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Raced(_) => "raced",
            Self::Away(_) => "away",
            Self::Unknown(_) => "unknown",
            Self::Refused(_) => "refused",
            Self::Row(_) => "corrupt",
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Raced(cause) | Failure::Refused(cause) => Self::Failed(cause),
            Failure::Away(cause) => Self::Unavailable(cause),
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

/// What the database said, without its details: those quote rows, which hold what is nobody's business.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}{}", constraint.as_ref().map(|name| format!(" (constraint {name})")).unwrap_or_default())]
struct Told {
    code: String,
    message: String,
    constraint: Option<String>,
}

/// What may be told of an error.
pub(crate) fn told(cause: &tokio_postgres::Error) -> Cause {
    let Some(said) = cause.as_db_error() else {
        // Of the connection, with why.
        let why = std::error::Error::source(cause).map(|why| format!(": {why}")).unwrap_or_default();
        return format!("{cause}{why}").into();
    };
    Box::new(Told {
        code: said.code().code().to_owned(),
        message: said.message().to_owned(),
        constraint: said.constraint().map(str::to_owned),
    })
}

impl From<tokio_postgres::Error> for Failure {
    fn from(cause: tokio_postgres::Error) -> Self {
        let (code, told) = (cause.code(), told(&cause));
        let Some(code) = code else { return Self::Away(told) };
        // A row that was not there when it was looked for, and now is.
        if *code == SqlState::UNIQUE_VIOLATION {
            return Self::Raced(told);
        }
        // The last: NOTIFY's queue is full because somebody who listens does not read.
        let away = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::PROGRAM_LIMIT_EXCEEDED,
        ];
        if away.contains(code) {
            return Self::Away(told);
        }
        // https://www.postgresql.org/docs/current/errcodes-appendix.html, by class
        match code.code().get(..2) {
            Some("40") => Self::Raced(told),
            // Connection, idle time-outs, resources, shutting down or time-out, the system.
            Some("08" | "25" | "53" | "57" | "58") => Self::Away(told),
            _ => Self::Refused(told),
        }
    }
}

impl Failure {
    /// The same failure of making a connection: whatever is wrong there is no command's fault.
    pub(crate) fn connecting(self) -> Self {
        match self {
            Self::Refused(cause) | Self::Raced(cause) => Self::Away(cause),
            other => other,
        }
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
            DatabaseErrorKind::SerializationFailure => Self::Raced(cause.into()),
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::ReadOnlyTransaction => Self::Away(cause.into()),
            // diesel drops the code of all others: a deadlock or a server that shuts down, or a bug. A few tries tell.
            DatabaseErrorKind::Unknown => Self::Raced(cause.into()),
            _ => Self::Refused(cause.into()),
        }
    }
}
