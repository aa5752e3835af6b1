//! Queries without prepared statements, which a pooler may lack.

use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// The columns of the first row that a query returns.
pub(crate) async fn row(client: &Client, query: &str) -> Result<Vec<Option<String>>, Error> {
    let answer = client.simple_query(query).await?;
    let columns = answer.iter().find_map(|message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
    });
    Ok(columns.unwrap_or_default())
}
