//! Whether a service can be reached: nobody is asked to pay for what cannot be done.

use crate::address::UpstreamUrl;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};

/// For how long a connection shows that there is one, or that there is none.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the connections to a service.
#[derive(Default)]
pub(crate) struct Reachable {
    known: Mutex<Option<(Instant, bool)>>,
    looking: AsyncMutex<()>,
}

impl Reachable {
    fn known(&self) -> Option<bool> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(at, _)| at.elapsed() < KNOWN_FOR).map(|(_, is_reachable)| is_reachable)
    }

    /// Notes whether there was a connection.
    pub(crate) fn note(&self, is_reachable: bool) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), is_reachable));
    }

    /// Whether there is a connection, or was one a moment ago. Of many who ask at once, one looks.
    pub(crate) async fn look(&self, url: &UpstreamUrl) -> bool {
        if let Some(known) = self.known() {
            return known;
        }
        let _one = self.looking.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let is_reachable = timeout(PATIENCE, connects(url)).await.unwrap_or(false);
        self.note(is_reachable);
        is_reachable
    }
}

async fn connects(url: &UpstreamUrl) -> bool {
    let Some((host, port)) = url.endpoint() else { return false };
    let connected = match host {
        url::Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await,
        url::Host::Ipv4(address) => TcpStream::connect((address, port)).await,
        url::Host::Ipv6(address) => TcpStream::connect((address, port)).await,
    };
    connected.is_ok()
}
