//! The service behind a mounted route, as one server calls it.

use super::calls::{Call, CallError, Port};
use super::power::{Op, Power};
use async_trait::async_trait;
use std::convert::identity;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tithe_engine::mounts::{Called, Method, Mount, Pieces, Upstream, UpstreamCall, UpstreamError};
use tithe_money::Sats;
use tithe_pricing::CallPrice;

/// What a call of the service costs.
const PRICE_SATS: u64 = 50;

impl CallError for UpstreamError {
    fn away() -> Self {
        Self::Unreachable(None)
    }

    fn refused() -> Self {
        Self::Failed { status: 503 }
    }

    fn lost() -> Self {
        Self::BrokenOff(None)
    }
}

/// The service, with the power of the server that calls it.
pub struct PoweredUpstream {
    power: Arc<Power>,
    /// How often the service has done what it was called for.
    done: Arc<AtomicU32>,
}

impl PoweredUpstream {
    /// A route to it.
    pub fn mount(power: Arc<Power>, done: Arc<AtomicU32>) -> Mount {
        Mount {
            path: "/paid/service".parse().unwrap(),
            methods: vec![Method::Post],
            price: CallPrice::Fixed(Sats::new(PRICE_SATS).unwrap()),
            passed_headers: Vec::new(),
            request_bytes_max: 1_000,
            upstream: Arc::new(Self { power, done }),
        }
    }
}

#[async_trait]
impl Upstream for PoweredUpstream {
    async fn is_reachable(&self) -> bool {
        let call = Call { port: Port::Upstream, name: "is_reachable" };
        let looking = async { Ok::<_, UpstreamError>(()) };
        self.power.call(Op::Other, call, identity, looking).await.is_ok()
    }

    async fn call(&self, _call: &UpstreamCall, _pieces: Option<Pieces<'_>>) -> Result<Called, UpstreamError> {
        let call = Call { port: Port::Upstream, name: "call" };
        let work = async {
            self.done.fetch_add(1, Ordering::SeqCst);
            let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
            Ok(Called { status: 200, headers, body: b"done".to_vec(), tokens: None })
        };
        self.power.call(Op::Work, call, identity, work).await
    }
}
