//! Detecting a connection pooler that shares sessions: `PgBouncer` in transaction or statement mode, and its like.
//!
//! Prepared statements, settings, advisory locks and `LISTEN` belong to a session. A pooler that gives every transaction another
//! connection mixes the sessions of its clients: settings get lost, or apply to others. A pooler in session mode does no harm.

use crate::connector::{Connector, Opened};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
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

/// Refuses a pooler that shares sessions. A connection's session must still be its own after a transaction, alone and while another
/// connection is in a transaction.
///
/// Simple queries only: prepared statements may work behind a pooler, or fail in any of them.
pub(crate) async fn refuse_shared_sessions(connector: &Connector) -> Result<(), crate::connect_error::ConnectError> {
    let (one, other) = (connector.client(|_| ()).await?, connector.client(|_| ()).await?);
    let refused = |how| Err(Pooled { at: connector.at().to_owned(), how }.into());
    match tokio::time::timeout(PATIENCE * 2, shares_sessions(&one, &other)).await {
        Ok(Ok(Some(how))) => refused(how),
        Ok(Ok(None)) => Ok(()),
        // PostgreSQL itself never refuses these statements.
        Ok(Err(cause)) if cause.code().is_some_and(|code| !is_passing(code)) => {
            debug!(cause = %cause, "the check for a pooler was refused");
            refused(NO_TRANSACTIONS)
        }
        Ok(Err(cause)) => Err(cause.into()),
        Err(_) => Ok(()),
    }
}

/// Whether the database is shutting down, or short of something.
fn is_passing(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("53" | "57" | "58"))
}

/// How sessions are shared; `None` if they are not, or if that cannot be found out.
async fn shares_sessions(one: &Opened, other: &Opened) -> Result<Option<&'static str>, Error> {
    // Custom settings begin with a prefix, and need no permission.
    let mark = first(one, "SELECT set_config('tithe.session', gen_random_uuid()::text, false), pg_backend_pid()").await?;
    let look = "SELECT current_setting('tithe.session', true), pg_backend_pid()";
    // One that takes its connections in turn, or resets them after each transaction.
    for _ in 0..2 {
        if first(one, look).await? != mark {
            return Ok(Some(CHANGES));
        }
    }
    // One that takes the connection that was used last.
    other.client.batch_execute("BEGIN").await?;
    let others = first(other, look).await?;
    if others.first() == mark.first() || others.get(1) == mark.get(1) {
        return Ok(Some(SHARED));
    }
    let Ok(again) = tokio::time::timeout(PATIENCE, first(one, look)).await else { return Ok(None) };
    if again? != mark {
        return Ok(Some(CHANGES));
    }
    other.client.batch_execute("ROLLBACK").await?;
    Ok(None)
}

async fn first(opened: &Opened, query: &str) -> Result<Vec<Option<String>>, Error> {
    let client: &Client = &opened.client;
    let answer = client.simple_query(query).await?;
    Ok(answer.iter().find_map(columns).unwrap_or_default())
}

/// The columns of a row.
pub(crate) fn columns(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
}
