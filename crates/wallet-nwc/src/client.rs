//! Requests to the wallet and their responses.

use crate::NwcConnection;
use crate::cipher::{Cipher, CipherError};
use crate::exchange::{Exchange, Links, Reply};
use crate::message::{ErrorCode, Fault, Response, tidy};
use crate::relay::keep_connected;
use crate::tls::Tls;
use nostr::event::{Event, EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::message::ClientMessage;
use nostr::types::Timestamp;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tithe_clock::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// How much longer than a caller waits a request is valid for the wallet: their clocks differ.
const CLOCK_SKEW: Duration = Duration::from_mins(1);
/// How long the first request waits for the info event of a second relay, if the first relay to answer has none.
const INFO_WAIT: Duration = Duration::from_secs(3);

/// The reason why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// No relay has taken the request: the wallet does not know of it, and never will.
    #[error("no relay took the request: {0}")]
    NotSent(String),
    /// A relay got the request, but no response came in time.
    #[error("no response from the wallet in time")]
    Lost,
    /// The wallet has responded with something that is not a response.
    #[error("unreadable response: {0}")]
    Unreadable(&'static str),
    /// The wallet has responded with an error.
    #[error("{fault}")]
    Fault {
        fault: Fault,
        /// How often the request was handed to a relay. A wallet may carry out each copy.
        copies: u32,
    },
    /// The request cannot be encrypted or signed.
    #[error("the request cannot be encrypted")]
    Cipher(#[from] CipherError),
}

/// The client of one wallet. Its relays are connected from the first request until it is dropped.
pub(crate) struct Client {
    connection: NwcConnection,
    exchange: Arc<Exchange>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    relays: OnceLock<Vec<AbortOnDropHandle<()>>>,
    waited_for_info: AtomicBool,
}

impl Client {
    pub fn new(connection: NwcConnection, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let exchange = Arc::new(Exchange::new(&connection));
        let (relays, waited_for_info) = (OnceLock::new(), AtomicBool::new(false));
        Self { connection, exchange, clock, timeout, relays, waited_for_info }
    }

    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// How long a request that was handed to a relay may still reach a wallet that ignores expired ones, by any clock that
    /// is less than a minute off.
    pub fn request_life(&self) -> Duration {
        self.timeout + CLOCK_SKEW + CLOCK_SKEW
    }

    /// Starts the tasks that connect to the relays, if they do not run yet.
    fn start(&self) {
        self.relays.get_or_init(|| {
            let tls = Arc::new(Tls::default());
            let task = |relay: &_| {
                let (exchange, tls) = (Arc::clone(&self.exchange), Arc::clone(&tls));
                let clock = Arc::clone(&self.clock);
                let relay = Clone::clone(relay);
                AbortOnDropHandle::new(tokio::spawn(keep_connected(exchange, relay, tls, clock)))
            };
            self.connection.relays().iter().map(task).collect()
        });
    }

    /// Waits until a relay delivers the wallet's events.
    pub async fn connected(&self) -> Result<watch::Receiver<Links>, RequestError> {
        self.connected_by(Instant::now() + self.timeout).await
    }

    async fn connected_by(&self, deadline: Instant) -> Result<watch::Receiver<Links>, RequestError> {
        self.start();
        let mut links = self.exchange.links();
        let ready = timeout_at(deadline, links.wait_for(|links| links.ready > 0)).await.is_ok();
        if !ready {
            return Err(RequestError::NotSent(self.fault()));
        }
        let relays = self.connection.relays().len();
        let incomplete = |links: &Links| !links.informed && links.ready < relays;
        if incomplete(&links.borrow()) && !self.waited_for_info.swap(true, Ordering::Relaxed) {
            let until = deadline.min(Instant::now() + INFO_WAIT);
            let _in_time = timeout_at(until, links.wait_for(|links| !incomplete(links))).await;
        }
        Ok(links)
    }

    fn fault(&self) -> String {
        self.exchange.links().borrow().fault.clone().unwrap_or_else(|| "cannot connect in time".to_owned())
    }

    /// Sends a request and waits for the response. Once this future is dropped, no relay is given the request any more.
    ///
    /// A wallet that does not support the encryption is asked again in the other one: it could not read the first request.
    pub async fn request(&self, method: &'static str, params: &Value) -> Result<Value, RequestError> {
        let deadline = Instant::now() + self.timeout;
        let mut again = true;
        loop {
            self.connected_by(deadline).await?;
            let cipher = self.exchange.cipher();
            let result = self.request_once(method, params, cipher, deadline).await;
            match &result {
                Err(RequestError::Fault { fault, .. })
                    if again && fault.code == ErrorCode::UnsupportedEncryption =>
                {
                    self.exchange.reject_cipher(cipher);
                    again = false;
                }
                _ => return result,
            }
        }
    }

    async fn request_once(
        &self,
        method: &'static str,
        params: &Value,
        cipher: Cipher,
        deadline: Instant,
    ) -> Result<Value, RequestError> {
        let event = self.event(method, params, cipher)?;
        let id = event.id;
        let (submission, response) = self.exchange.submit(id, ClientMessage::event(event).as_json());
        let reply = timeout_at(deadline, response).await;
        let copies = submission.finish();
        match reply {
            Ok(Ok(Reply::Response(text))) => match Response::parse(method, &text) {
                Response::Result(result) => Ok(result),
                Response::Fault(fault) => Err(RequestError::Fault { fault, copies: copies.sent }),
                Response::Unreadable(why) => Err(RequestError::Unreadable(why)),
            },
            Ok(Ok(Reply::Rejected(reason))) => Err(RequestError::NotSent(tidy(&reason))),
            Ok(Err(_)) | Err(_) if copies.live == 0 => Err(RequestError::NotSent(self.fault())),
            Ok(Err(_)) | Err(_) => Err(RequestError::Lost),
        }
    }

    /// The event of a request. It expires, so that a wallet that was away does not carry it out much later.
    fn event(&self, method: &str, params: &Value, cipher: Cipher) -> Result<Event, CipherError> {
        let seconds = |at: tithe_clock::Timestamp| u64::try_from(at.unix_seconds()).unwrap_or(0);
        let now = self.clock.now();
        let (keys, wallet) = (self.connection.keys(), self.connection.wallet());
        let text = json!({ "method": method, "params": params }).to_string();
        EventBuilder::new(Kind::WalletConnectRequest, cipher.encrypt(keys, &wallet, &text)?)
            .custom_created_at(Timestamp::from_secs(seconds(now)))
            .tag(Tag::public_key(wallet))
            .tag_maybe(cipher.request_tag().map(|name| Tag::custom("encryption", [name])))
            .tag(Tag::expiration(Timestamp::from_secs(seconds(now + self.timeout + CLOCK_SKEW))))
            .finalize(keys)
            .map_err(|_| CipherError)
    }
}
