//! The program's output.

use serde::Deserialize;
use tithe_bootstrap::{Credentials, Node};

/// What the program has replied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ready(Node),
    Pending,
    Failed { reason: String },
    None,
    Destroyed,
}

impl Reply {
    /// The name of its state, as in the output.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Ready(_) => "ready",
            Self::Pending => "pending",
            Self::Failed { .. } => "failed",
            Self::None => "none",
            Self::Destroyed => "destroyed",
        }
    }
}

/// The output as it is written.
#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Written {
    Ready {
        host: String,
        #[serde(default)]
        credentials: Credentials,
    },
    Pending,
    Failed {
        #[serde(default)]
        reason: String,
    },
    None,
    Destroyed,
}

/// Reads and checks the output. The error says what is wrong and quotes nothing, because the output may contain credentials.
pub(super) fn parse(output: &[u8]) -> Result<Reply, String> {
    let written = serde_json::from_slice(output).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("expected JSON with a known state, got {} bytes (line {line}, column {column})", output.len())
    })?;
    Ok(match written {
        Written::Ready { host, credentials } => {
            Reply::Ready(Node { host, credentials }.check().map_err(|error| error.to_string())?)
        }
        Written::Pending => Reply::Pending,
        Written::Failed { reason } => Reply::Failed { reason },
        Written::None => Reply::None,
        Written::Destroyed => Reply::Destroyed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_json_with_a_known_state() {
        assert_eq!(parse(b" {\"state\":\"pending\",\"more\":1}\n"), Ok(Reply::Pending));
        assert_eq!(parse(br#"{"state":"failed"}"#), Ok(Reply::Failed { reason: String::new() }));
        let node = Node { host: "h".to_owned(), credentials: Credentials::default() };
        assert_eq!(parse(br#"{"state":"ready","host":"h"}"#), Ok(Reply::Ready(node)));
        for wrong in [
            "",
            "ok",
            "[]",
            r#"{"state":"Secret"}"#,
            r#"{"state":"ready"}"#,
            r#"{"state":"ready","host":"a b","credentials":{"password":"Secret"}}"#,
            r#"{"state":"ready","host":"h","credentials":{"":"Secret"}}"#,
            r#"{"state":"ready","host":"h","credentials":{"password":["Secret"]}}"#,
            r#"{"state":"pending"} {"state":"pending"}"#,
        ] {
            let error = parse(wrong.as_bytes()).unwrap_err();
            assert!(!error.contains("Secret"), "{error}");
        }
    }
}
