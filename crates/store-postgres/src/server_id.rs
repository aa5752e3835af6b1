//! The id of a server.

use std::sync::Arc;

/// The id of this server among the servers on one database. The database makes it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerId(Arc<str>);

impl ServerId {
    pub(crate) fn new(id: &str) -> Self {
        Self(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
