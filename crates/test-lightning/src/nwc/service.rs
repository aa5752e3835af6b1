//! The wallet service: a client of its relays.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::filter::Filter;
use nostr::key::Keys;
use nostr::message::{ClientMessage, RelayMessage, SubscriptionId};
use nostr::nips::nip47::NostrWalletConnectUri;
use nostr::types::{RelayUrl, Timestamp};
use serde_json::{Value, json};
use tithe_clock::{Entropy, SystemEntropy};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::cipher::Scheme;
use super::fault::{NwcFault, NwcFaults};
use super::methods::{NwcError, carry_out, notified, offered};
use super::options::NwcOptions;
use super::transaction::Transaction;
use crate::background::Background;
use crate::patience::TIME_LIMIT;
use crate::{LightningError, LightningNode, PaymentEvent};

/// The pause before a lost relay is tried again.
const PAUSE: Duration = Duration::from_millis(25);

/// How many events a slow relay may be behind before it misses some.
const OUTBOX: usize = 1_024;

const SUBSCRIPTION: &str = "requests";

/// A wallet service of NIP-47 over a node, for one client.
///
/// It connects again to relays that went away. It stops when it is dropped.
pub struct NwcService {
    service: Arc<Service>,
    connection: String,
    _background: Background,
}

struct Service {
    node: LightningNode,
    keys: Keys,
    client: nostr::key::PublicKey,
    options: NwcOptions,
    faults: NwcFaults,
    outbox: broadcast::Sender<Event>,
    /// The number of relays that deliver requests.
    subscribed: watch::Sender<usize>,
    /// The requests that have come in, by any relay.
    seen: Mutex<HashSet<nostr::event::EventId>>,
    notifies: watch::Sender<bool>,
}

impl NwcService {
    /// Starts a service with default options, and waits until it is connected to all relays.
    pub async fn start(node: &LightningNode, relays: &[String]) -> Result<Self, LightningError> {
        Self::start_with(node, relays, NwcOptions::default()).await
    }

    /// Starts a service, and waits until it is connected to all relays.
    pub async fn start_with(
        node: &LightningNode,
        relays: &[String],
        options: NwcOptions,
    ) -> Result<Self, LightningError> {
        let (keys, client) = (new_keys(), new_keys());
        let urls = relays.iter().map(|relay| RelayUrl::parse(relay)).collect::<Result<Vec<_>, _>>();
        let urls = urls.map_err(|_| LightningError::Options("a relay's URL is invalid"))?;
        let secret = client.secret_key().clone();
        let connection = NostrWalletConnectUri::new(keys.public_key(), urls, secret, options.lud16.clone());
        let service = Arc::new(Service {
            node: node.clone(),
            keys,
            client: client.public_key(),
            notifies: watch::Sender::new(!options.silent),
            options,
            faults: NwcFaults::default(),
            outbox: broadcast::Sender::new(OUTBOX),
            subscribed: watch::Sender::new(0),
            seen: Mutex::default(),
        });
        let background = Background::start()?;
        for relay in relays {
            background.spawn(follow_relay(Arc::clone(&service), relay.clone()));
        }
        background.spawn(follow_node(Arc::clone(&service)));
        let started = Self { service, connection: connection.to_string(), _background: background };
        started.connected(relays.len()).await?;
        Ok(started)
    }

    /// The connection string for the client: `nostr+walletconnect://…`. It holds the client's secret key.
    #[must_use]
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// The faults of requests.
    #[must_use]
    pub fn faults(&self) -> &NwcFaults {
        &self.service.faults
    }

    /// Whether notifications are sent.
    pub fn notify(&self, notify: bool) {
        self.service.notifies.send_replace(notify);
    }

    /// Waits until so many relays deliver requests to the service.
    pub async fn connected(&self, count: usize) -> Result<(), LightningError> {
        let mut subscribed = self.service.subscribed.subscribe();
        let reached = timeout(TIME_LIMIT, subscribed.wait_for(|subscribed| *subscribed == count)).await;
        reached.map(drop).map_err(|_| LightningError::TimedOut("the wallet service is connected"))
    }
}

impl fmt::Debug for NwcService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NwcService").field("wallet", &self.service.keys.public_key()).finish_non_exhaustive()
    }
}

/// Counts a relay as long as it delivers requests.
struct Subscribed(Arc<Service>);

impl Subscribed {
    fn new(service: &Arc<Service>) -> Self {
        service.subscribed.send_modify(|subscribed| *subscribed += 1);
        Self(Arc::clone(service))
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.0.subscribed.send_modify(|subscribed| *subscribed -= 1);
    }
}

async fn follow_relay(service: Arc<Service>, url: String) {
    loop {
        let _ = serve_relay(&service, &url).await;
        sleep(PAUSE).await;
    }
}

/// Serves the requests of one relay until the connection is lost.
async fn serve_relay(service: &Arc<Service>, url: &str) -> Option<()> {
    let mut outbox = service.outbox.subscribe();
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.ok()?;
    let info = service.info()?;
    let filter = Filter::new()
        .kind(Kind::WalletConnectRequest)
        .pubkey(service.keys.public_key())
        .since(Timestamp::now());
    let requests = ClientMessage::req(SubscriptionId::new(SUBSCRIPTION), filter);
    for message in [ClientMessage::event(info), requests] {
        socket.send(Message::from(message.as_json())).await.ok()?;
    }
    let mut subscribed = None;
    loop {
        tokio::select! {
            read = socket.next() => match read?.ok()? {
                Message::Text(text) => match RelayMessage::from_json(text.as_str()).ok() {
                    Some(RelayMessage::Event { event, .. }) => {
                        tokio::spawn(respond(Arc::clone(service), event.into_owned()));
                    }
                    Some(RelayMessage::EndOfStoredEvents(_)) => subscribed = Some(Subscribed::new(service)),
                    Some(RelayMessage::Closed { .. }) => subscribed = None,
                    _ => {}
                },
                Message::Close(_) => return subscribed.map(drop),
                _ => {}
            },
            event = outbox.recv() => match event {
                Ok(event) => socket.send(Message::from(ClientMessage::event(event).as_json())).await.ok()?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            },
        }
    }
}

async fn follow_node(service: Arc<Service>) {
    let mut events = service.node.events();
    loop {
        let (kind, transaction) = match events.recv().await {
            Ok(PaymentEvent::Received(hash)) => {
                ("payment_received", service.node.incoming(hash).map(Transaction::Incoming))
            }
            Ok(PaymentEvent::Held(hash)) => {
                ("hold_invoice_accepted", service.node.incoming(hash).map(Transaction::Incoming))
            }
            Ok(PaymentEvent::Sent(id)) => {
                ("payment_sent", service.node.outgoing(id).map(Transaction::Outgoing))
            }
            Ok(PaymentEvent::Failed(_)) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if let Some(transaction) = transaction.filter(|_| *service.notifies.borrow()) {
            let notification = json!({ "notification_type": kind, "notification": transaction.to_json() });
            service.notify(&notification);
        }
    }
}

/// Carries out a request and sends the response, as far as no fault prevents it.
async fn respond(service: Arc<Service>, request: Event) -> Option<()> {
    let expired = request.tags.expiration().is_some_and(|expiration| expiration < Timestamp::now());
    let news = service.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(request.id);
    if expired || !news || request.pubkey != service.client {
        return None;
    }
    let scheme = match service.options.encryption.of_request(&request) {
        Ok(scheme) => scheme,
        Err(own) => {
            let error = NwcError::new("UNSUPPORTED_ENCRYPTION", "unsupported encryption scheme");
            return service.send_response(&request, own, &response("unknown", Err(error)).to_string());
        }
    };
    let content = scheme.decrypt(&service.keys, &request.pubkey, &request.content)?;
    let call: Value = serde_json::from_str(&content).ok()?;
    let method = call.get("method").and_then(Value::as_str).unwrap_or_default();
    let params = call.get("params").unwrap_or(&Value::Null);
    let fault = service.faults.draw(method);
    let result = match &fault {
        Some(fault) if !fault.carries_out() => Err(NwcError::new("INTERNAL", "")),
        _ => carry_out(&service.node, &service.options, method, params).await,
    };
    let text = match fault {
        None => response(method, result).to_string(),
        Some(NwcFault::RequestIgnored | NwcFault::ResponseSwallowed) => return None,
        Some(NwcFault::ResponseDelayed(delay)) => {
            sleep(delay).await;
            response(method, result).to_string()
        }
        Some(NwcFault::Error(code) | NwcFault::ErrorAfterwards(code)) => {
            let error = NwcError::new(code, "injected fault");
            response(method, Err(error)).to_string()
        }
        Some(NwcFault::WrongPreimage) => {
            let entropy: &dyn Entropy = &SystemEntropy;
            let mut result = result;
            if let Ok(Value::Object(fields)) = &mut result {
                fields.insert("preimage".to_owned(), json!(hex::encode(entropy.bytes::<32>())));
            }
            response(method, result).to_string()
        }
        Some(NwcFault::Undecryptable) => {
            return service.publish(Kind::WalletConnectResponse, Some(&request), "?".to_owned());
        }
        Some(NwcFault::Garbled) => "{".to_owned(),
    };
    service.send_response(&request, scheme, &text)
}

fn response(method: &str, result: Result<Value, NwcError>) -> Value {
    match result {
        Ok(result) => json!({ "result_type": method, "error": null, "result": result }),
        Err(error) => json!({
            "result_type": method,
            "error": { "code": error.code, "message": error.message },
            "result": null,
        }),
    }
}

impl Service {
    /// The event that says what the wallet supports.
    fn info(&self) -> Option<Event> {
        let notifications = (!self.options.silent).then_some("notifications");
        let content: Vec<&str> = offered(&self.options).chain(notifications).collect();
        let tag = |name: &str, value: String| Tag::parse([name.to_owned(), value]).ok();
        let encryption = self.options.encryption.tag();
        let builder = EventBuilder::new(Kind::WalletConnectInfo, content.join(" "))
            .tag_maybe(encryption.and_then(|schemes| tag("encryption", schemes.to_owned())))
            .tag_maybe(
                notifications
                    .and_then(|name| tag(name, notified(&self.options).collect::<Vec<_>>().join(" "))),
            );
        builder.finalize(&self.keys).ok()
    }

    fn send_response(&self, request: &Event, scheme: Scheme, text: &str) -> Option<()> {
        let content = scheme.encrypt(&self.keys, &self.client, text)?;
        self.publish(Kind::WalletConnectResponse, Some(request), content)
    }

    /// Sends a notification in every scheme that the wallet supports.
    fn notify(&self, notification: &Value) {
        for scheme in self.options.encryption.schemes() {
            let kind = match scheme {
                Scheme::Nip44 => Kind::WalletConnectNotificationNip44V2,
                Scheme::Nip04 => Kind::WalletConnectNotification,
            };
            if let Some(content) = scheme.encrypt(&self.keys, &self.client, &notification.to_string()) {
                self.publish(kind, None, content);
            }
        }
    }

    fn publish(&self, kind: Kind, request: Option<&Event>, content: String) -> Option<()> {
        let event = EventBuilder::new(kind, content)
            .tag(Tag::public_key(self.client))
            .tag_maybe(request.map(|request| Tag::event(request.id)))
            .finalize(&self.keys)
            .ok()?;
        self.outbox.send(event).ok().map(drop)
    }
}

/// Almost every 32 bytes are a valid key; the few exceptions are drawn again.
fn new_keys() -> Keys {
    let entropy: &dyn Entropy = &SystemEntropy;
    loop {
        if let Ok(secret) = nostr::key::SecretKey::from_slice(&entropy.bytes::<32>()) {
            return Keys::new(secret);
        }
    }
}
