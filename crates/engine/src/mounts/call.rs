//! What is called, and at which price.

use super::path::MountPath;
use super::port::{Method, Upstream, UpstreamCall};
use std::fmt;
use std::sync::Arc;
use tithe_pricing::CallPrice;

/// A mounted route.
#[derive(Clone)]
pub struct Mount {
    /// Its path.
    pub path: MountPath,
    /// Its methods.
    pub methods: Vec<Method>,
    /// What a call costs.
    pub price: CallPrice,
    /// The headers of customers that the service gets beside those that each gets, in lower case.
    pub passed_headers: Vec<String>,
    /// The largest body of a request, in bytes.
    pub request_bytes_max: usize,
    /// The service.
    pub upstream: Arc<dyn Upstream>,
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("path", &self.path).field("price", &self.price).finish_non_exhaustive()
    }
}

/// A call of a mounted route.
#[derive(Debug, Clone)]
pub struct MountedCall {
    /// The route.
    pub mount: Arc<Mount>,
    /// What is sent.
    pub call: UpstreamCall,
}
