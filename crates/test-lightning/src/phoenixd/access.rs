//! Who may do what.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

use crate::http::{HttpRequest, header};

/// The passwords of an API.
pub struct Passwords {
    pub full: String,
    pub limited: String,
}

/// What a password allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Everything but sending money.
    Limited,
    /// Everything.
    Full,
}

impl Passwords {
    /// What the request's password allows: by basic authentication, whatever the user name.
    pub fn access(&self, request: &HttpRequest) -> Option<Access> {
        let credentials = header(request, AUTHORIZATION)?.strip_prefix("Basic ")?;
        let credentials = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
        self.allows(credentials.split_once(':')?.1)
    }

    /// The same for a websocket, which may also name the password as its protocol, as browsers must.
    pub fn websocket_access(&self, request: &HttpRequest) -> Option<Access> {
        let protocols = header(request, SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
        let by_protocol = protocols.split(',').find_map(|protocol| self.allows(protocol.trim()));
        self.access(request).or(by_protocol)
    }

    fn allows(&self, password: &str) -> Option<Access> {
        match password {
            password if password == self.full => Some(Access::Full),
            password if password == self.limited => Some(Access::Limited),
            _ => None,
        }
    }
}
