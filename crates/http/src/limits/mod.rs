//! Limits that keep one client from locking the others out: how many requests, connections and event streams one address may have.
//!
//! An address is an IPv4 address or an IPv6 /56, which is what one customer of a provider is given.

mod address;
mod forwarded;
mod rate;
mod repeated_refusals;
mod slots;

pub(crate) use address::AddressBlock;
pub use forwarded::{ForwardedHeader, UnknownForwardedHeader};
pub(crate) use repeated_refusals::{Payer, RepeatedRefusals, UnpaidRequest, slow_down};

use crate::problem::{Code, Problem};
use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::Version;
use actix_web::http::header::RETRY_AFTER;
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, ResponseError};
use ipnet::IpNet;
use rate::RateLimit;
use slots::{Slot, Slots};
use socket2::SockRef;
use std::any::Any;
use std::net::{IpAddr, Shutdown, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The longest path and query of a request, in bytes. Longer texts are for bodies. (What is longer than 65 534 bytes is refused before it
/// gets here: 400, with an empty body.)
const URL_BYTES_MAX: usize = 32 * 1024;

/// The limits of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// The reverse proxies that are believed when they name their clients. Their own connections are not limited.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they do.
    pub forwarded_header: ForwardedHeader,
    /// How many requests an address may send in a second, on average; ten times as many at once. `None` means no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// How many connections all clients may have together.
    pub connections: usize,
    /// How many connections one address may have.
    pub connections_per_address: usize,
    /// How many event streams all clients may have together.
    pub streams: usize,
    /// How many event streams one address may have.
    pub streams_per_address: usize,
    /// How many event streams may follow one job.
    pub streams_per_job: usize,
    /// How long a connection may take nothing of what is sent to it before it is closed.
    pub write_timeout: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            requests_per_second: NonZeroU32::new(50),
            connections: 10_000,
            connections_per_address: 1_000,
            streams: 5_000,
            streams_per_address: 200,
            streams_per_job: 100,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// The limits, and what is in use. Clones share the counts.
#[derive(Clone)]
pub(crate) struct Limits {
    settings: Arc<LimitSettings>,
    requests: Option<Arc<RateLimit<AddressBlock>>>,
    connections: Arc<Slots<AddressBlock>>,
    streams_by_address: Arc<Slots<AddressBlock>>,
    streams_by_job: Arc<Slots<Uuid>>,
}

/// An open event stream: while it lives, it counts for its address and its job.
pub(crate) struct StreamSlot(
    #[expect(dead_code, reason = "held, not read")] (Slot<AddressBlock>, Slot<Uuid>),
);

impl Limits {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        Self {
            requests: settings.requests_per_second.map(|rate| Arc::new(RateLimit::per_second(rate))),
            settings: Arc::new(settings),
            connections: Arc::default(),
            streams_by_address: Arc::default(),
            streams_by_job: Arc::default(),
        }
    }

    /// Prepares the socket that connections are accepted on: a connection that takes nothing of what is sent to it is closed.
    pub(crate) fn prepare(&self, listener: &TcpListener) -> std::io::Result<()> {
        let timeout = Some(self.settings.write_timeout);
        if cfg!(target_os = "linux") { SockRef::from(listener).set_tcp_user_timeout(timeout) } else { Ok(()) }
    }

    /// How many connections one of several worker threads may have.
    pub(crate) fn connections_of_worker(&self, workers: usize) -> usize {
        (self.settings.connections / workers.max(1)).max(1)
    }

    /// The block of addresses that the client of a request is in.
    pub(crate) fn client(&self, request: &HttpRequest) -> Option<AddressBlock> {
        self.address(request).map(AddressBlock::of)
    }

    /// The address of the client of a request.
    pub(crate) fn address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let LimitSettings { trusted_proxies, forwarded_header, .. } = &*self.settings;
        Some(address::client(peer, request.headers(), *forwarded_header, trusted_proxies))
    }

    /// Whether a request comes from this machine, and straight from its client, as far as that can be told: a proxy on this machine
    /// asks from this machine, too. One that is trusted is known; others say what they are in a header, or speak HTTP/1.0.
    pub(crate) fn is_from_this_machine(&self, request: &HttpRequest) -> bool {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else { return false };
        let is_proxied = self.is_trusted(&peer)
            || request.version() < Version::HTTP_11
            || request.headers().keys().any(|name| forwarded::is_of_proxy(name.as_str()));
        peer.is_loopback() && !is_proxied
    }

    fn is_trusted(&self, address: &IpAddr) -> bool {
        self.settings.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// Counts a new connection for its address; one too many is closed.
    pub(crate) fn connected(&self, io: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = io.downcast_ref::<TcpStream>() else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        let peer = peer.ip().to_canonical();
        if self.is_trusted(&peer) {
            return;
        }
        match self.connections.take(AddressBlock::of(peer), self.settings.connections_per_address) {
            Some(slot) => drop(extensions.insert(slot)),
            None => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
        }
    }

    /// Counts an event stream of a job, or of whoever pays for a request.
    pub(crate) fn stream(
        &self,
        request: &HttpRequest,
        followed: Uuid,
    ) -> Result<Option<StreamSlot>, Problem> {
        let Some(client) = self.client(request) else { return Ok(None) };
        let too_many = |whose: &str, most: usize| {
            let detail = format!("too many event streams: expected at most {most} of {whose}");
            Problem::new(Code::TooManyStreams, detail)
        };
        let most = &self.settings;
        if self.streams_by_job.taken() >= most.streams {
            return Err(too_many("all clients", most.streams));
        }
        let by_address = self.streams_by_address.take(client, most.streams_per_address);
        let by_address = by_address.ok_or_else(|| too_many("one address", most.streams_per_address))?;
        let by_job = self.streams_by_job.take(followed, most.streams_per_job);
        let by_job =
            by_job.ok_or_else(|| too_many("one job, session, install or identity", most.streams_per_job))?;
        Ok(Some(StreamSlot((by_address, by_job))))
    }

    /// Refuses a request that its address has sent too soon, or whose URL is too long.
    fn admit(&self, request: &HttpRequest) -> Result<(), Problem> {
        let length = request.uri().path_and_query().map_or(0, |whole| whole.as_str().len());
        if length > URL_BYTES_MAX {
            let detail = format!("URL too long: expected at most {URL_BYTES_MAX} bytes, got {length}");
            return Err(Problem::new(Code::UrlTooLong, detail));
        }
        let Some(requests) = &self.requests else { return Ok(()) };
        let Some(client) = self.client(request) else { return Ok(()) };
        requests.admit(&client).map_err(|wait| {
            let detail =
                format!("too many requests from your address: try again in {} s", wait.as_secs().max(1));
            Problem::new(Code::RateLimited, detail).with_header(RETRY_AFTER, wait.as_secs().max(1).into())
        })
    }
}

/// Applies the limits to a request. Health is always told: a load balancer asks often, and the answers cost little.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let limits =
        request.app_data::<Data<Limits>>().filter(|_| !["/healthz", "/readyz"].contains(&request.path()));
    let refused = limits.and_then(|limits| limits.admit(request.request()).err());
    Ok(match refused {
        Some(problem) => request.into_response(problem.error_response()).map_into_right_body(),
        None => next.call(request).await?.map_into_left_body(),
    })
}
