//! Detecting a connection pooler that shares sessions: `PgBouncer` in transaction or statement mode, and its like.
//!
//! Prepared statements, settings, advisory locks and `LISTEN` belong to a session. A pooler that gives every transaction another
//! connection mixes the sessions of its clients: settings get lost, or apply to others. A pooler in session mode does no harm.

use crate::simple_query::row;
use std::time::Duration;
use tokio_postgres::{Client, Error};
use tracing::debug;

/// How long a pooler may keep us waiting for a connection while we hold another: it may have a single one. Then nothing is known.
const PATIENCE: Duration = Duration::from_secs(2);

/// There is a pooler before the database that shares sessions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "connection pooler at {at}: expected one session for each connection, got one that {how}; Tithe needs prepared statements, session \
     settings, advisory locks and LISTEN: connect to PostgreSQL directly, or set pool_mode = session"
)]
pub struct Pooled {
    at: String,
    how: &'static str,
}

const SHARED: &str = "other connections use, too";
const CHANGES: &str = "is another one after each transaction";
const NO_TRANSACTIONS: &str = "allows no transaction";

impl Pooled {
    pub(crate) fn new(at: &str, how: &'static str) -> Self {
        Self { at: at.to_owned(), how }
    }
}

/// How two connections share sessions; `None` if they do not, or if that cannot be found out. A connection's session must still be
/// its own after a transaction, alone and while another connection is in a transaction.
///
/// Simple queries only: prepared statements may work behind a pooler, or fail in any of them.
pub(crate) async fn shared_sessions(one: &Client, other: &Client) -> Result<Option<&'static str>, Error> {
    match tokio::time::timeout(PATIENCE * 2, look(one, other)).await {
        Ok(Err(cause)) if is_refusal(&cause) => {
            debug!(error = %cause, "the database does not tell whether sessions are shared");
            Ok(None)
        }
        Ok(found) => found,
        Err(_) => Ok(None),
    }
}

/// Whether the database refuses a statement, and not because it is shutting down or short of something.
fn is_refusal(cause: &Error) -> bool {
    cause.code().is_some_and(|code| !matches!(code.code().get(..2), Some("53" | "57" | "58")))
}

async fn look(one: &Client, other: &Client) -> Result<Option<&'static str>, Error> {
    // Custom settings begin with a prefix, and need no permission.
    let mark =
        row(one, "SELECT set_config('tithe.session', gen_random_uuid()::text, false), pg_backend_pid()")
            .await?;
    let again = "SELECT current_setting('tithe.session', true), pg_backend_pid()";
    // One that takes its connections in turn, or resets them after each transaction.
    for _ in 0..2 {
        if row(one, again).await? != mark {
            return Ok(Some(CHANGES));
        }
    }
    // One that takes the connection that was used last.
    match other.batch_execute("BEGIN").await {
        // PostgreSQL itself never refuses it.
        Err(cause) if is_refusal(&cause) => return Ok(Some(NO_TRANSACTIONS)),
        begun => begun?,
    }
    let others = row(other, again).await?;
    if others.first() == mark.first() || others.get(1) == mark.get(1) {
        return Ok(Some(SHARED));
    }
    let Ok(found) = tokio::time::timeout(PATIENCE, row(one, again)).await else { return Ok(None) };
    if found? != mark {
        return Ok(Some(CHANGES));
    }
    other.batch_execute("ROLLBACK").await?;
    Ok(None)
}
