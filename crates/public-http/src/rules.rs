//! Which URLs are requested.

use crate::public_address::is_public;
use std::net::IpAddr;
use url::{Host, Url};

/// Where requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destinations {
    /// By https, to public addresses.
    Public,
    /// Anywhere, also by http, and to addresses of the operator's own network: for customers who are all trusted.
    Any,
}

/// The reason why a URL is not requested. The text may be shown to the person who chose the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedUrl {
    /// The text is not a URL, or the URL's scheme is not allowed.
    #[error("invalid URL: expected https://…")]
    Invalid,
    /// The URL has a user name or a password.
    #[error("unexpected credentials: expected a URL without a user name or password")]
    Credentials,
    /// The host is an onion service. Its name must not be looked up (RFC 7686), and Tor is not supported.
    #[error("onion service: expected a host that is reachable without Tor")]
    Onion,
    /// The host is in a private network, or its name resolves to private addresses only.
    #[error("private address: expected a host on the public internet")]
    PrivateAddress,
}

/// The rules that every requested URL meets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether http is allowed.
    pub http: bool,
    /// Whether connections to an address are allowed.
    pub allows: fn(IpAddr) -> bool,
    /// Whether names are allowed that exist in private networks only.
    pub private_names: bool,
}

impl Rules {
    /// The rules for these destinations.
    pub fn new(destinations: Destinations) -> Self {
        match destinations {
            Destinations::Public => Self { http: false, allows: is_public, private_names: false },
            Destinations::Any => Self { http: true, allows: |_| true, private_names: true },
        }
    }

    /// Checks everything that can be seen without resolving the name.
    pub fn check(&self, url: &Url) -> Result<(), RefusedUrl> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::Credentials);
        }
        if !(url.scheme() == "https" || self.http && url.scheme() == "http") {
            return Err(RefusedUrl::Invalid);
        }
        match url.host() {
            None => Err(RefusedUrl::Invalid),
            Some(Host::Ipv4(v4)) => self.check_address(v4.into()),
            Some(Host::Ipv6(v6)) => self.check_address(v6.into()),
            Some(Host::Domain(name)) => self.check_name(name),
        }
    }

    fn check_address(&self, address: IpAddr) -> Result<(), RefusedUrl> {
        if (self.allows)(address) { Ok(()) } else { Err(RefusedUrl::PrivateAddress) }
    }

    fn check_name(&self, name: &str) -> Result<(), RefusedUrl> {
        let name = name.trim_end_matches('.');
        match name.rsplit_once('.') {
            Some((_, "onion")) => Err(RefusedUrl::Onion),
            _ if self.private_names => Ok(()),
            // A name without a dot is one of the operator's network.
            None | Some((_, "localhost" | "local" | "internal")) => Err(RefusedUrl::PrivateAddress),
            // The URL parser takes `127.0.0.1..` for a name.
            Some(_) if name.parse::<IpAddr>().is_ok() => Err(RefusedUrl::PrivateAddress),
            Some(_) => Ok(()),
        }
    }
}
