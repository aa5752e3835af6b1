//! Errors of opening the database.

use crate::pooler::Pooled;
use crate::timeline_file::TimelineFileError;
use crate::timelines::Refused;
use crate::url::UrlError;

/// The reason why the database could not be opened. No message shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS to the database")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server is an old primary, or of another cluster.
    #[error(transparent)]
    Refused(Refused),
    /// There is a connection pooler before the database that shares sessions.
    #[error(transparent)]
    Pooled(Pooled),
    /// What was seen of the database cannot be read or kept.
    #[error(transparent)]
    Timeline(TimelineFileError),
    /// It is not clear which server to accept.
    #[error(
        "cannot accept the database at {at}: expected one host that accepts writes and shows its timeline, got {found}; name one host"
    )]
    Accept {
        /// Host, port and name of the database.
        at: String,
        /// The number of hosts that accept writes.
        found: usize,
    },
    /// The server does not answer, or refuses the connection.
    #[error("the database at {at} is unreachable")]
    Connect {
        /// Host, port and name of the database.
        at: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database stores texts in an encoding that not every text has a form in.
    #[error(
        "unsupported encoding of the database at {at}: expected UTF8, got {encoding}; create it with ENCODING 'UTF8'"
    )]
    Encoding {
        /// Host, port and name of the database.
        at: String,
        /// The database's encoding.
        encoding: String,
    },
    /// Migrations are missing, and this program was not asked to run them.
    #[error("outdated database at {at}: {pending} migrations are missing; run `tithe migrate`")]
    Outdated {
        /// Host, port and name of the database.
        at: String,
        /// The number of missing migrations.
        pending: usize,
    },
    /// Servers, or other commands, are connected, and what was asked for needs the database to stand still.
    #[error(
        "the database at {at} is in use: expected no other program with this application_name, got {connections} \
         connections; stop the servers first"
    )]
    InUse {
        /// Host, port and name of the database.
        at: String,
        /// The number of their connections.
        connections: i64,
    },
    /// The tables cannot be migrated.
    #[error("cannot migrate the database at {at}")]
    Migrate {
        /// Host, port and name of the database.
        at: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}
