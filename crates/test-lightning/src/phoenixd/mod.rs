//! The HTTP API of phoenixd over a node.

mod access;
mod answers;
mod request;
mod routes;
mod socket;
mod wallet;

use std::fmt;
use std::sync::Arc;

use tithe_clock::{Entropy, SystemEntropy};
use tithe_money::Msats;

pub use wallet::Keep;

use crate::fault::FaultSwitch;
use crate::http;
use crate::loopback::Loopback;
use crate::{LightningError, LightningNode};
use access::Passwords;
use wallet::Wallet;

/// The HTTP API of phoenixd 0.8 over a node: `createinvoice`, `payinvoice`, `payments/…`, `getinfo`, `getbalance` and `websocket`.
///
/// It differs from a real phoenixd in this:
///
/// - A real one pays every invoice through its provider, for 4 sat and 0.4 %. This one pays that fee at most: what the
///   route costs is the business of the network. A [`LightningLine`](crate::LightningLine) with
///   [`RoutingFee::TRAMPOLINE`](crate::RoutingFee::TRAMPOLINE) costs what a real one costs.
/// - A liquidity fee ([`PhoenixdApi::keep`]) stays in the node, and is missing from the API's balance.
/// - There are no offers, LNURLs, on-chain transactions and webhooks.
///
/// It stops when it is dropped.
pub struct PhoenixdApi {
    server: Loopback,
    wallet: Arc<Wallet>,
    passwords: Arc<Passwords>,
    faults: FaultSwitch,
}

impl PhoenixdApi {
    /// Starts the API on a free loopback port.
    pub async fn start(node: &LightningNode) -> Result<Self, LightningError> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let passwords = Arc::new(Passwords {
            full: hex::encode(entropy.bytes::<32>()),
            limited: hex::encode(entropy.bytes::<32>()),
        });
        let wallet = Arc::new(Wallet::over(node.clone()));
        let faults = FaultSwitch::default();
        let (switch, answering, checking) = (faults.clone(), Arc::clone(&wallet), Arc::clone(&passwords));
        let server = http::serve(
            move |request| switch.draw(routes::kind(request)),
            move |request| routes::answer(Arc::clone(&answering), Arc::clone(&checking), request),
        )
        .await?;
        server.background().spawn(wallet::follow(Arc::clone(&wallet)));
        Ok(Self { server, wallet, passwords, faults })
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// The password for everything (`http-password`). The user name does not matter.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.passwords.full
    }

    /// The password that cannot send money (`http-password-limited-access`).
    #[must_use]
    pub fn limited_password(&self) -> &str {
        &self.passwords.limited
    }

    /// The faults of requests.
    #[must_use]
    pub const fn faults(&self) -> &FaultSwitch {
        &self.faults
    }

    /// What becomes of payments that are received from now on.
    pub fn keep(&self, keep: Keep) {
        self.wallet.keep(keep);
    }

    /// What the API's balance is, to the millisat: that of the node, less what was kept ([`PhoenixdApi::keep`]).
    #[must_use]
    pub fn balance(&self) -> Msats {
        self.wallet.balance()
    }

    /// Whether websockets announce received payments. If not, they stay open and silent.
    pub fn notify(&self, notify: bool) {
        self.wallet.notify(notify);
    }

    /// Cuts all connections, and refuses new ones.
    pub async fn close(&self) -> Result<(), LightningError> {
        self.server.close().await?;
        self.wallet.cut();
        Ok(())
    }

    /// Cuts all websockets. They may be opened again at once.
    pub fn cut_websockets(&self) {
        self.wallet.cut();
    }

    /// Accepts connections again, on the same port.
    pub async fn open(&self) -> Result<(), LightningError> {
        self.server.open().await
    }
}

impl fmt::Debug for PhoenixdApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhoenixdApi").field("url", &self.url()).finish_non_exhaustive()
    }
}
