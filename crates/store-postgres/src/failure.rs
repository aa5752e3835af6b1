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

impl From<tokio_postgres::Error> for Failure {
    fn from(cause: tokio_postgres::Error) -> Self {
        let Some(code) = cause.code() else { return Self::Away(cause.into()) };
        // A row that was not there when it was looked for, and now is.
        if *code == SqlState::UNIQUE_VIOLATION {
            return Self::Raced(cause.into());
        }
        if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::Away(cause.into());
        }
        // https://www.postgresql.org/docs/current/errcodes-appendix.html, by class
        match code.code().get(..2) {
            Some("40") => Self::Raced(cause.into()),
            // Connection, idle time-outs, resources, shutting down or time-out, the system.
            Some("08" | "25" | "53" | "57" | "58") => Self::Away(cause.into()),
            _ => Self::Refused(cause.into()),
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
