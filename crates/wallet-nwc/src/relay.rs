//! The connection to one relay: a task that connects again whenever it is lost.

use crate::connection::RelayAddress;
use crate::exchange::{Exchange, ReadyGuard};
use crate::message::tidy;
use crate::tls::{Tls, TlsError};
use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventBuilder, EventId, FinalizeEvent, Kind, Tag};
use nostr::filter::Filter;
use nostr::message::{ClientMessage, MachineReadablePrefix, RelayMessage, SubscriptionId};
use nostr::types::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Clock;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

/// How long it may take until a relay delivers the wallet's events.
const READY_MAX: Duration = Duration::from_secs(15);
/// How long a message may take to leave.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// The pause between pings.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a relay may send nothing, not even a pong. A dead connection is noticed after at most this and one ping.
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// The pause before the second attempt to connect; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause while nobody has a request.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// The longest pause while somebody has.
const PAUSE_WANTED_MAX: Duration = Duration::from_secs(2);
/// A message from a relay may be this long. NIP-47 expects responses of up to 64 kB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The number of stored events that a relay delivers on connecting: those that were missed by a lost connection.
const STORED_EVENTS_MAX: usize = 20;

/// The id of the one subscription of a connection.
const SUBSCRIPTION: &str = "nwc";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The reason why a relay cannot be used.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect in time")]
    TooSlow,
    #[error("cannot connect: {0}")]
    Tls(TlsError),
    #[error("connection failed: {}", socket_fault(.0))]
    Socket(SocketError),
    #[error("connection closed by the relay")]
    Closed,
    #[error("no sign of life for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the relay does not deliver the wallet's events: {0}")]
    Refused(String),
    #[error("authentication failed: {0}")]
    Authentication(String),
}

/// The fault without the URL, which may hold an access token.
fn socket_fault(error: &SocketError) -> String {
    match error {
        SocketError::Url(_) => "the URL cannot be used".to_owned(),
        SocketError::Http(response) => format!("HTTP status {}", response.status().as_u16()),
        other => tidy(&other.to_string()),
    }
}

impl From<SocketError> for LinkError {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::ConnectionClosed | SocketError::AlreadyClosed => Self::Closed,
            error => Self::Socket(error),
        }
    }
}

/// Keeps the relay connected, for ever.
pub(crate) async fn keep_connected(
    exchange: Arc<Exchange>,
    relay: RelayAddress,
    tls: Arc<Tls>,
    clock: Arc<dyn Clock>,
) {
    let mut pause = PAUSE_MIN;
    let mut work = exchange.work();
    loop {
        let mut link =
            Link { exchange: &exchange, relay: &relay, clock: clock.as_ref(), ready: None, auth: None };
        work.mark_unchanged();
        let fault = match link.run(&tls).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        if link.ready.take().is_some() {
            pause = PAUSE_MIN;
            tracing::warn!(%relay, error = %fault, "lost a relay");
        } else {
            tracing::debug!(%relay, error = %fault, "a relay cannot be used");
        }
        exchange.note_fault(format!("{relay}: {fault}"));

        let ended = Instant::now();
        tokio::select! {
            () = sleep_until(ended + pause) => {}
            _ = work.changed() => sleep_until(ended + pause.min(PAUSE_WANTED_MAX)).await,
        }
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

/// One connection.
struct Link<'a> {
    exchange: &'a Arc<Exchange>,
    relay: &'a RelayAddress,
    clock: &'a dyn Clock,
    ready: Option<ReadyGuard>,
    /// Our authentication event, once the relay has asked for one (NIP-42).
    auth: Option<EventId>,
}

/// The requests of one connection.
#[derive(Default)]
struct Sent {
    sent: HashSet<EventId>,
    refused: HashSet<EventId>,
}

impl Link<'_> {
    /// Runs until the connection is lost.
    async fn run(&mut self, tls: &Tls) -> Result<std::convert::Infallible, LinkError> {
        let mut socket = timeout(READY_MAX, self.connect(tls)).await.map_err(|_| LinkError::TooSlow)??;
        self.subscribe(&mut socket).await?;
        let mut work = self.exchange.work();
        let mut requests = Sent::default();
        let opened = Instant::now();
        let mut heard = opened;
        let mut ping = tokio::time::interval_at(opened + PING_EVERY, PING_EVERY);
        loop {
            tokio::select! {
                frame = socket.next() => {
                    heard = Instant::now();
                    match frame.ok_or(LinkError::Closed)?? {
                        Message::Text(text) => self.take(&mut socket, &mut requests, text.as_str()).await?,
                        Message::Close(_) => return Err(LinkError::Closed),
                        _ => {}
                    }
                }
                _ = work.changed(), if self.ready.is_some() => self.hand_over(&mut socket, &mut requests).await?,
                () = sleep_until(opened + READY_MAX), if self.ready.is_none() => return Err(LinkError::TooSlow),
                _ = ping.tick() => {
                    if heard.elapsed() >= SILENCE_MAX {
                        return Err(LinkError::Silent);
                    }
                    write(&mut socket, Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    async fn connect(&self, tls: &Tls) -> Result<Socket, LinkError> {
        let connector =
            if self.relay.is_secure() { tls.connector().map_err(LinkError::Tls)? } else { Connector::Plain };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opened =
            connect_async_tls_with_config(self.relay.reveal(), Some(config), true, Some(connector)).await;
        let (socket, _response) = opened?;
        Ok(socket)
    }

    /// Asks for the wallet's info event, its responses and its notifications. There is no start time, because a wallet whose
    /// clock is behind would not be heard.
    async fn subscribe(&self, socket: &mut Socket) -> Result<(), LinkError> {
        let wallet = self.exchange.wallet();
        let info = Filter::new().author(wallet).kind(Kind::WalletConnectInfo).limit(1);
        let events = Filter::new()
            .author(wallet)
            .pubkey(self.exchange.keys().public_key())
            .kinds([
                Kind::WalletConnectResponse,
                Kind::WalletConnectNotification,
                Kind::WalletConnectNotificationNip44V2,
            ])
            .limit(STORED_EVENTS_MAX);
        send(socket, &ClientMessage::req(SubscriptionId::new(SUBSCRIPTION), vec![info, events])).await
    }

    /// Takes a message from the relay. What cannot be read is ignored.
    async fn take(&mut self, socket: &mut Socket, requests: &mut Sent, text: &str) -> Result<(), LinkError> {
        let Ok(message) = RelayMessage::from_json(text) else {
            tracing::debug!(relay = %self.relay, "ignored an unreadable message of a relay");
            return Ok(());
        };
        match message {
            RelayMessage::Event { event, .. } => self.exchange.receive(&event),
            RelayMessage::EndOfStoredEvents(_) if self.ready.is_none() => {
                self.ready = Some(self.exchange.relay_ready());
                tracing::debug!(relay = %self.relay, "connected to a relay");
                self.hand_over(socket, requests).await?;
            }
            RelayMessage::Ok { event_id, status, message } if self.auth == Some(event_id) => {
                if !status {
                    return Err(LinkError::Authentication(tidy(&message)));
                }
                self.subscribe(socket).await?;
                // Requests that were refused for lack of authentication are handed over again.
                requests.sent.retain(|id| !requests.refused.remove(id));
                self.hand_over(socket, requests).await?;
            }
            RelayMessage::Ok { event_id, status: false, message } => {
                self.rejected(requests, event_id, &message);
            }
            RelayMessage::Closed { message, .. } if !asks_for_authentication(&message) => {
                return Err(LinkError::Refused(tidy(&message)));
            }
            // The relay delivers nothing until it has accepted the authentication.
            RelayMessage::Closed { .. } => self.ready = None,
            RelayMessage::Auth { challenge } => {
                let event = self.authentication(&challenge)?;
                self.auth = Some(event.id);
                send(socket, &ClientMessage::auth(event)).await?;
            }
            RelayMessage::Notice(message) => {
                tracing::debug!(relay = %self.relay, notice = tidy(&message), "notice of a relay");
            }
            _ => {}
        }
        Ok(())
    }

    /// The answer to a relay that wants to know who we are (NIP-42). It is signed with the key of this connection only.
    fn authentication(&self, challenge: &str) -> Result<Event, LinkError> {
        let seconds = u64::try_from(self.clock.now().unix_seconds()).unwrap_or(0);
        EventBuilder::new(Kind::Authentication, "")
            .custom_created_at(Timestamp::from_secs(seconds))
            .tag(Tag::custom("relay", [self.relay.reveal()]))
            .tag(Tag::custom("challenge", [challenge]))
            .finalize(self.exchange.keys())
            .map_err(|_| LinkError::Authentication("the event cannot be signed".to_owned()))
    }

    /// A relay has refused a request. Only a reason that rules out that the relay has passed it on counts.
    fn rejected(&self, requests: &mut Sent, id: EventId, message: &str) {
        if !rules_out_delivery(message) || !requests.sent.contains(&id) || !requests.refused.insert(id) {
            return;
        }
        let reason = format!("{}: {}", self.relay, tidy(message));
        self.exchange.copy_rejected(id, reason, !asks_for_authentication(message));
    }

    /// Hands the waiting requests over that this connection has not handed over yet.
    async fn hand_over(&self, socket: &mut Socket, requests: &mut Sent) -> Result<(), LinkError> {
        let waiting = self.exchange.waiting();
        requests.sent.retain(|id| waiting.contains(id));
        requests.refused.retain(|id| waiting.contains(id));
        for id in waiting {
            if !requests.sent.insert(id) {
                continue;
            }
            if let Some(frame) = self.exchange.begin_copy(id) {
                write(socket, Message::text(&*frame)).await?;
            }
        }
        Ok(())
    }
}

fn asks_for_authentication(message: &str) -> bool {
    matches!(MachineReadablePrefix::parse(message), Some(MachineReadablePrefix::AuthRequired))
}

/// Whether a relay with this reason has certainly not passed the event on. `error:` may come after it has, and so may a
/// reason of the relay's own.
fn rules_out_delivery(message: &str) -> bool {
    use MachineReadablePrefix as Prefix;
    match MachineReadablePrefix::parse(message) {
        Some(
            Prefix::Pow
            | Prefix::Blocked
            | Prefix::RateLimited
            | Prefix::Invalid
            | Prefix::Unsupported
            | Prefix::AuthRequired
            | Prefix::Restricted,
        ) => true,
        Some(Prefix::Duplicate | Prefix::Error | Prefix::Custom(_)) | None => false,
    }
}

async fn send(socket: &mut Socket, message: &ClientMessage<'_>) -> Result<(), LinkError> {
    write(socket, Message::text(message.as_json())).await
}

async fn write(socket: &mut Socket, message: Message) -> Result<(), LinkError> {
    timeout(WRITE_MAX, socket.send(message)).await.map_err(|_| LinkError::Silent)?.map_err(LinkError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_refusal_rules_out_that_the_wallet_gets_the_request() {
        for refusal in
            ["blocked: no", "rate-limited: slow", "auth-required: who", "restricted: x", "invalid: x"]
        {
            assert!(rules_out_delivery(refusal), "{refusal}");
        }
        for doubt in ["error: disk full", "duplicate: have it", "mute: x", "no", ""] {
            assert!(!rules_out_delivery(doubt), "{doubt}");
        }
    }

    #[test]
    fn a_fault_does_not_show_the_url() {
        let url =
            tokio_tungstenite::tungstenite::error::UrlError::UnableToConnect("wss://relay/token".into());
        assert!(!LinkError::Socket(SocketError::Url(url)).to_string().contains("token"));
    }
}
