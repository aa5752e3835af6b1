//! The stream of received payments.

use crate::api::{Api, lost};
use crate::failure::{Lost, of_read};
use crate::incoming;
use futures_util::stream::unfold;
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Clock;
use tithe_lightning::{InvoiceStatus, PaymentHash, ReceivedPayment, ReceivedPayments, WalletError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

/// The interval of our pings.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long nothing may arrive, not even a pong, until the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// The maximum size of a message: one payment.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// LNbits' message about a payment. The balance beside it is ignored.
#[derive(Deserialize)]
struct Event {
    payment: EventPayment,
}

/// What is read of the payment: enough to look it up.
#[derive(Deserialize)]
struct EventPayment {
    payment_hash: PaymentHash,
    /// Negative for an outgoing payment.
    amount: i64,
}

/// Subscribes to the payments that the wallet receives.
pub(crate) async fn subscribe(api: Api, clock: Arc<dyn Clock>) -> Result<ReceivedPayments, WalletError> {
    // LNbits accepts every connection, and sends nothing if the key is wrong.
    api.balance().await?;
    let timeout = api.timeout();
    let connecting = tokio::time::timeout(timeout, connect(&api));
    let socket = connecting.await.map_err(|elapsed| WalletError::Unavailable(Some(elapsed.into())))??;
    let listener = Listener::new(socket, Resolver { api, clock });
    Ok(unfold(listener, |mut listener| async move {
        let payment = listener.next().await?;
        Some((payment, listener))
    })
    .boxed())
}

async fn connect(api: &Api) -> Result<WebSocketStream<reqwest::Upgraded>, WalletError> {
    let key = generate_key();
    let request = api
        .events()
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key);
    let response = request.send().await.map_err(|error| lost(error).of_read())?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(of_read(response.status(), &[]));
    }
    let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes().to_vec());
    if accept.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(WalletError::Nonsense("WebSocket: wrong Sec-WebSocket-Accept".to_owned()));
    }
    let upgraded =
        response.upgrade().await.map_err(|error| Lost::NoReply(error.without_url().into()).of_read())?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

/// Reads events until the connection is lost.
struct Listener<S> {
    resolver: Resolver,
    socket: WebSocketStream<S>,
    pings: Interval,
    /// When the connection counts as lost, unless something arrives.
    silent_until: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Listener<S> {
    fn new(socket: WebSocketStream<S>, resolver: Resolver) -> Self {
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { resolver, socket, pings, silent_until: Instant::now() + SILENCE_MAX }
    }

    /// The next payment received; `None` when the connection is lost.
    async fn next(&mut self) -> Option<ReceivedPayment> {
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message?,
                _ = self.pings.tick() => {
                    self.ping().await?;
                    continue;
                }
                () = sleep_until(self.silent_until) => {
                    tracing::warn!("the connection to LNbits is silent: it counts as lost");
                    return None;
                }
            };
            self.silent_until = Instant::now() + SILENCE_MAX;
            match message {
                Ok(Message::Text(text)) => {
                    if let Some(payment) = self.resolver.resolve(text.as_bytes()).await {
                        return Some(payment);
                    }
                }
                Ok(Message::Close(_)) => return None,
                Ok(_) => {}
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the connection to LNbits is lost");
                    return None;
                }
            }
        }
    }

    /// Sends a ping; `None` if that is impossible.
    async fn ping(&mut self) -> Option<()> {
        let sent = tokio::time::timeout(PING_EVERY, self.socket.send(Message::Ping(Vec::new().into()))).await;
        sent.ok()?.ok()
    }
}

/// Looks up what events announce.
struct Resolver {
    api: Api,
    clock: Arc<dyn Clock>,
}

impl Resolver {
    /// The payment that an event is about, if it is settled at the wallet. Anybody who knows the key can send events, so the event
    /// itself is no evidence.
    async fn resolve(&self, text: &[u8]) -> Option<ReceivedPayment> {
        let Event { payment } = serde_json::from_slice(text).ok()?;
        if payment.amount <= 0 {
            return None;
        }
        match incoming::status(&self.api, payment.payment_hash, self.clock.now()).await {
            Ok(Some(InvoiceStatus::Settled(received))) => Some(received),
            Ok(_) => None,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(payment_hash = %payment.payment_hash, error, "cannot look up a payment that LNbits announced");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LnbitsSettings;
    use tithe_clock::ManualClock;
    use tithe_clock::Timestamp;
    use tithe_lightning::Network;
    use tokio::io::DuplexStream;

    /// A listener, and LNbits' side of its connection.
    async fn connected() -> (Listener<DuplexStream>, WebSocketStream<DuplexStream>) {
        let url = "http://127.0.0.1:1/".parse().unwrap();
        let settings = LnbitsSettings::new(url, "key".parse().unwrap(), Network::Regtest);
        let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let resolver = Resolver { api: Api::new(&settings).unwrap(), clock };
        let (near, far) = tokio::io::duplex(4_096);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        (Listener::new(near, resolver), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_answers_pings_is_kept() {
        let (mut listener, mut far) = connected().await;
        let start = Instant::now();
        let server = async move {
            for _ in 0..20 {
                // Reading a ping answers it.
                assert!(matches!(far.next().await, Some(Ok(Message::Ping(_)))));
            }
        };
        let ((), payment) = tokio::join!(server, listener.next());
        assert_eq!(payment, None);
        assert!(start.elapsed() >= PING_EVERY * 20, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_lost_within_a_minute() {
        let (mut listener, far) = connected().await;
        let start = Instant::now();
        assert_eq!(listener.next().await, None);
        assert!((SILENCE_MAX..Duration::from_mins(1)).contains(&start.elapsed()), "{:?}", start.elapsed());
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_no_more_pings_is_lost() {
        let (mut listener, far) = connected().await;
        drop(far);
        assert_eq!(listener.next().await, None);
    }
}
