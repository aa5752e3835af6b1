//! The origins that may call from a browser.

use actix_web::http::header::{HeaderMap, ORIGIN};

/// The origins that may call MCP from a browser. A page whose name has come to lead to this server (DNS rebinding) is not among them, so
/// MCP demands that they are checked. Programs send no origin.
#[derive(Debug, Clone)]
pub(crate) struct AllowedOrigins(Vec<String>);

impl AllowedOrigins {
    /// These origins, as browsers write them; none allow any.
    pub(crate) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Whether a request may be made from where it says that it is.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let is_listed =
            |origin: &[u8]| self.0.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin));
        self.0.is_empty() || headers.get_all(ORIGIN).all(|origin| is_listed(origin.as_bytes()))
    }
}
