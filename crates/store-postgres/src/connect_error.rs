//! Why there is no connection to the database.

use crate::failure::Failure;
use crate::pooler::Pooled;
use crate::timeline_file::TimelineFileError;
use crate::timelines::{CheckError, Refused};
use diesel::ConnectionError;

/// Why there is no connection to the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// It cannot be reached, or refuses us.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// We refuse it.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// What was seen cannot be read or kept.
    #[error(transparent)]
    File(#[from] TimelineFileError),
    /// There is a pooler before it that shares sessions.
    #[error(transparent)]
    Pooled(#[from] Pooled),
    /// It does not answer.
    #[error("the database accepts connections and does not answer")]
    Silent(#[from] tokio::time::error::Elapsed),
    /// No host of the URL was tried.
    #[error("no host of the database was tried")]
    NoHost,
}

impl From<CheckError> for ConnectError {
    fn from(cause: CheckError) -> Self {
        match cause {
            CheckError::Refused(refused) => Self::Refused(Box::new(refused)),
            CheckError::File(cause) => Self::File(cause),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(cause: ConnectError) -> Self {
        match cause {
            ConnectError::Postgres(cause) => cause.into(),
            ConnectError::Silent(cause) => Self::Unavailable(cause.into()),
            // The next try may reach another server.
            other => Self::Unavailable(other.into()),
        }
    }
}

impl From<ConnectError> for ConnectionError {
    fn from(cause: ConnectError) -> Self {
        Self::BadConnection(cause.describe())
    }
}

impl ConnectError {
    /// The error with its causes, on one line.
    pub(crate) fn describe(&self) -> String {
        let first: &dyn std::error::Error = self;
        let chain = std::iter::successors(Some(first), |error| error.source());
        chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}
