//! Why a request to a server failed.

use super::line::Line;

/// The reasons for which a request can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no server reachable at {server}: is `tithe serve` running?")]
    NoServer { server: String, source: reqwest::Error },
    #[error("invalid server URL: expected http://host:port, got {server:?}")]
    Url { server: String },
    #[error("the server responded: {detail} ({status}, {code})")]
    Problem { status: u16, code: Line, detail: Line },
    #[error("unexpected response from the server")]
    Nonsense(#[source] serde_json::Error),
    #[error("invalid receipt of the request {id}: {problem}")]
    Receipt { id: Line, problem: String },
    #[error("invalid challenge from the server: expected 64 lowercase hex digits")]
    NoNonce,
    #[error("cannot create an HTTP client")]
    Client(#[source] reqwest::Error),
}

impl Failure {
    /// The server has no development routes.
    pub(super) fn no_play_money(code: Line) -> Self {
        let detail = "the server does not accept play money; start it with TITHE_DEV=1".to_owned();
        Self::Problem { status: 404, code, detail: detail.into() }
    }

    /// Whether a retry may succeed.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::NoServer { .. } | Self::Problem { status: 502..=504, .. })
    }
}
