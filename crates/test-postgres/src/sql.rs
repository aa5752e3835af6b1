//! The SQL access that the helpers themselves need.

use std::error::Error;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// How long to wait for a server, which may first have to recover from a crash.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two connection attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Connects as `name` as soon as the server accepts connections.
pub async fn connect(url: &str, name: &str) -> Result<Client, String> {
    let mut config: Config = url.parse().map_err(|error| format!("{url}: {}", explain(&error)))?;
    config.application_name(name);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return Ok(client);
            }
            Err(error) if Instant::now() < deadline && is_passing(&error) => sleep(PAUSE).await,
            Err(error) => return Err(format!("connecting to {url}: {}", explain(&error))),
        }
    }
}

/// Returns true if the error concerns the connection, so that a retry on a new one may succeed.
pub fn is_passing(error: &tokio_postgres::Error) -> bool {
    let states = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    error.code().is_none_or(|code| states.contains(code))
}

/// The same server's database `name`.
pub fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) =
        url.split_once('?').map_or((url, None), |(address, rest)| (address, Some(rest)));
    let host = address.find("://").map_or(0, |scheme| scheme + 3);
    let end = address.get(host..).and_then(|rest| rest.find('/')).map_or(address.len(), |slash| host + slash);
    let parameters = parameters.map_or_else(String::new, |parameters| format!("?{parameters}"));
    format!("{}/{name}{parameters}", address.get(..end).unwrap_or(address))
}

/// Formats an error with its causes, because `tokio_postgres` says only "db error".
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_all_but_its_database() {
        let url = |url| with_database(url, "x");
        assert_eq!(
            url("postgres://postgres@127.0.0.1:5999/postgres"),
            "postgres://postgres@127.0.0.1:5999/x"
        );
        assert_eq!(url("postgres://postgres@127.0.0.1:5999"), "postgres://postgres@127.0.0.1:5999/x");
        assert_eq!(url("postgresql://u:p@h/db?sslmode=disable"), "postgresql://u:p@h/x?sslmode=disable");
        assert_eq!(url("postgres://h?connect_timeout=3"), "postgres://h/x?connect_timeout=3");
    }
}
