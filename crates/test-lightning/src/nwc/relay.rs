//! A Nostr relay.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, Kind};
use nostr::filter::Filter;
use nostr::message::{ClientMessage, RelayMessage, SubscriptionId};
use tithe_clock::{Entropy, SystemEntropy};
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::relay_state::{Accepted, State, matches};
use crate::LightningError;
use crate::loopback::Loopback;
use crate::patience::TIME_LIMIT;

/// A relay on a loopback port, with what NIP-47 needs: events, requests and authentication (NIP-01, NIP-42).
///
/// It stops when it is dropped.
pub struct NostrRelay {
    server: Loopback,
    state: Arc<State>,
}

impl NostrRelay {
    /// Starts a relay on a free loopback port.
    pub async fn start() -> Result<Self, LightningError> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let server = Loopback::serve(move |stream| serve(Arc::clone(&shared), stream)).await?;
        Ok(Self { server, state })
    }

    /// The URL: `ws://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.server.port())
    }

    /// Cuts all connections, and refuses new ones.
    pub async fn stop(&self) -> Result<(), LightningError> {
        self.server.close().await
    }

    /// Accepts connections again, on the same port. Stored events are still there.
    pub async fn start_again(&self) -> Result<(), LightningError> {
        self.server.open().await
    }

    /// Whether connections neither read nor write, as if the machine were gone: not even pings are answered.
    pub fn freeze(&self, frozen: bool) {
        self.state.frozen.send_replace(frozen);
    }

    /// Rejects all events with this message, such as `rate-limited: slow down`; `None` accepts them again.
    pub fn reject(&self, message: Option<&str>) {
        self.state.rejection_set(message.map(ToOwned::to_owned));
    }

    /// Whether requests and responses, which are ephemeral, are stored, as some relays for wallets do.
    pub fn keep_ephemeral(&self, keep: bool) {
        self.state.keeps_ephemeral_set(keep);
    }

    /// Whether new connections must authenticate (NIP-42).
    pub fn require_auth(&self, require: bool) {
        self.state.requires_auth_set(require);
    }

    /// Forgets all stored events, such as the wallet's info event.
    pub fn forget(&self) {
        self.state.forget();
    }

    /// All events that the relay has ever accepted, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.state.accepted()
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.state.connections.borrow()
    }

    /// Waits until there are so many connections.
    pub async fn connected(&self, count: usize) -> Result<(), LightningError> {
        let mut connections = self.state.connections.subscribe();
        let reached = timeout(TIME_LIMIT, connections.wait_for(|connections| *connections == count)).await;
        reached.map(drop).map_err(|_| LightningError::TimedOut("the relay has so many connections"))
    }
}

impl fmt::Debug for NostrRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NostrRelay").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Counts a connection as long as it lives.
struct Counted(Arc<State>);

impl Counted {
    fn new(state: Arc<State>) -> Self {
        state.connections.send_modify(|connections| *connections += 1);
        Self(state)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.send_modify(|connections| *connections -= 1);
    }
}

async fn serve(state: Arc<State>, stream: TcpStream) {
    // A client that has left, or speaks no websocket.
    let _ = Connection::run(state, stream).await;
}

struct Connection {
    state: Arc<State>,
    socket: WebSocketStream<TcpStream>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
    /// The challenge that the client has not answered; `None` once it has, or if it need not.
    challenge: Option<String>,
}

struct Subscription {
    filters: Vec<Filter>,
    /// The number of the last event that was sent as a stored one, if it matched.
    after: u64,
}

impl Connection {
    async fn run(state: Arc<State>, stream: TcpStream) -> Option<()> {
        let mut frozen = state.frozen.subscribe();
        frozen.wait_for(|frozen| !*frozen).await.ok()?;
        let socket = tokio_tungstenite::accept_async(stream).await.ok()?;
        let _counted = Counted::new(Arc::clone(&state));
        let mut live = state.live();
        let challenge = state.requires_auth().then(challenge);
        let mut connection = Self { state, socket, subscriptions: HashMap::new(), challenge };
        if let Some(challenge) = connection.challenge.clone() {
            connection.send(&RelayMessage::auth(challenge)).await?;
        }
        loop {
            frozen.wait_for(|frozen| !*frozen).await.ok()?;
            tokio::select! {
                // Whoever freezes the relay may send something in the same moment.
                biased;
                changed = frozen.changed() => changed.ok()?,
                read = connection.socket.next() => if let Message::Text(text) = read?.ok()? {
                    connection.receive(&text).await?;
                },
                accepted = live.recv() => match accepted {
                    Ok(accepted) => connection.forward(&accepted).await?,
                    Err(RecvError::Lagged(_)) => {},
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    async fn receive(&mut self, text: &str) -> Option<()> {
        let Ok(message) = ClientMessage::from_json(text) else {
            return self.send(&RelayMessage::notice("error: unreadable message")).await;
        };
        match message {
            ClientMessage::Auth(event) => self.authenticate(&event).await,
            ClientMessage::Event(event) if self.challenge.is_some() => {
                self.send(&RelayMessage::ok(event.id, false, "auth-required: authenticate first")).await
            }
            ClientMessage::Req { subscription_id, .. } if self.challenge.is_some() => {
                let id = subscription_id.into_owned();
                self.send(&RelayMessage::closed(id, "auth-required: authenticate first")).await
            }
            ClientMessage::Event(event) => {
                let id = event.id;
                let answer = match self.state.publish(event.into_owned()) {
                    Ok(false) => RelayMessage::ok(id, true, ""),
                    Ok(true) => RelayMessage::ok(id, true, "duplicate: already have this event"),
                    Err(reason) => RelayMessage::ok(id, false, reason),
                };
                self.send(&answer).await
            }
            ClientMessage::Req { subscription_id, filters } => {
                let filters = filters.into_iter().map(Cow::into_owned).collect();
                self.subscribe(subscription_id.into_owned(), filters).await
            }
            ClientMessage::Close(id) => {
                self.subscriptions.remove(&*id);
                Some(())
            }
            _ => self.send(&RelayMessage::notice("error: unsupported message")).await,
        }
    }

    async fn authenticate(&mut self, event: &Event) -> Option<()> {
        let right = self.challenge.is_none() || event.tags.challenge() == self.challenge;
        let answer = if event.verify().is_ok() && event.kind == Kind::Authentication && right {
            self.challenge = None;
            RelayMessage::ok(event.id, true, "")
        } else {
            RelayMessage::ok(event.id, false, "restricted: wrong challenge or signature")
        };
        self.send(&answer).await
    }

    async fn subscribe(&mut self, id: SubscriptionId, filters: Vec<Filter>) -> Option<()> {
        let (stored, after) = self.state.query(&filters);
        self.subscriptions.insert(id.clone(), Subscription { filters, after });
        for event in stored {
            self.send(&RelayMessage::event(id.clone(), event)).await?;
        }
        self.send(&RelayMessage::eose(id)).await
    }

    async fn forward(&mut self, accepted: &Accepted) -> Option<()> {
        let wants = |subscription: &Subscription| {
            let new = accepted.number > subscription.after;
            new && subscription.filters.iter().any(|filter| matches(filter, &accepted.event))
        };
        let wanting = self.subscriptions.iter().filter(|(_, subscription)| wants(subscription));
        let wanting: Vec<SubscriptionId> = wanting.map(|(id, _)| id.clone()).collect();
        for id in wanting {
            self.send(&RelayMessage::event(id, accepted.event.clone())).await?;
        }
        Some(())
    }

    async fn send(&mut self, message: &RelayMessage<'_>) -> Option<()> {
        self.socket.send(Message::from(message.as_json())).await.ok()
    }
}

fn challenge() -> String {
    let entropy: &dyn Entropy = &SystemEntropy;
    hex::encode(entropy.bytes::<16>())
}
