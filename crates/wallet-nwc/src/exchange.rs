//! What the relays' tasks and the callers share: the requests that wait for a response, what the wallet has announced,
//! and which relays are connected.

use crate::NwcConnection;
use crate::cipher::{Cipher, decrypt};
use crate::message::{NoticeKind, read_notice};
use nostr::event::{Event, EventId, Kind};
use nostr::key::{Keys, PublicKey};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tithe_lightning::PaymentHash;
use tokio::sync::{broadcast, oneshot, watch};

/// The number of notifications that a slow listener can be behind.
const NOTIFICATIONS_MAX: usize = 1_024;
/// The number of notification events that are remembered: each relay delivers a copy.
const SEEN_MAX: usize = 256;

/// The connections to the relays, as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// The number of relays that are connected and deliver the wallet's events.
    pub ready: usize,
    /// How often the last such relay was lost.
    pub outages: u64,
    /// Whether the wallet's info event was seen.
    pub informed: bool,
    /// The latest reason why a relay could not be used.
    pub fault: Option<String>,
}

/// The wallet's info event, as far as it is used.
#[derive(Debug, Clone, Copy)]
struct Info {
    created_at: u64,
    cipher: Cipher,
    notifies: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The decrypted response.
    Response(String),
    /// Every relay that got the request refused to take it.
    Rejected(String),
}

/// A request that waits for its response.
struct Pending {
    /// The whole message to the relay.
    frame: Arc<str>,
    /// How often it was handed to a relay.
    copies: u32,
    /// How many of these copies no relay has refused.
    live: u32,
    reply: Option<oneshot::Sender<Reply>>,
}

/// Shared by the callers and the relays' tasks.
pub(crate) struct Exchange {
    keys: Keys,
    wallet: PublicKey,
    pending: Mutex<HashMap<EventId, Pending>>,
    /// Changes with each new request.
    work: watch::Sender<()>,
    links: watch::Sender<Links>,
    info: Mutex<Option<Info>>,
    /// Set when the wallet did not support the encryption that its info event implies.
    cipher_override: Mutex<Option<Cipher>>,
    notified: broadcast::Sender<(NoticeKind, PaymentHash)>,
    seen: Mutex<VecDeque<EventId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of the first tag of this name.
fn tag<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.tags.iter().find(|tag| tag.kind() == name).and_then(|tag| tag.content())
}

impl Exchange {
    pub fn new(connection: &NwcConnection) -> Self {
        Self {
            keys: connection.keys().clone(),
            wallet: connection.wallet(),
            pending: Mutex::default(),
            work: watch::Sender::new(()),
            links: watch::Sender::new(Links::default()),
            info: Mutex::default(),
            cipher_override: Mutex::default(),
            notified: broadcast::Sender::new(NOTIFICATIONS_MAX),
            seen: Mutex::default(),
        }
    }

    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub const fn wallet(&self) -> PublicKey {
        self.wallet
    }

    /// The encryption for the next request.
    pub fn cipher(&self) -> Cipher {
        let announced = || lock(&self.info).map_or(Cipher::Nip04, |info| info.cipher);
        lock(&self.cipher_override).unwrap_or_else(announced)
    }

    /// The wallet has said that it does not support `cipher`.
    pub fn reject_cipher(&self, cipher: Cipher) {
        *lock(&self.cipher_override) = Some(cipher.other());
    }

    /// Whether the wallet announces notifications of received payments; `None` if no info event was seen.
    pub fn notifies(&self) -> Option<bool> {
        lock(&self.info).map(|info| info.notifies)
    }

    /// The state of the connections.
    pub fn links(&self) -> watch::Receiver<Links> {
        self.links.subscribe()
    }

    /// Signals new requests.
    pub fn work(&self) -> watch::Receiver<()> {
        self.work.subscribe()
    }

    /// The wallet's notifications from now on.
    pub fn notifications(&self) -> broadcast::Receiver<(NoticeKind, PaymentHash)> {
        self.notified.subscribe()
    }

    /// Adds a request, which every connected relay is given, and every relay that connects while it waits.
    pub fn submit(self: &Arc<Self>, id: EventId, frame: String) -> (Submission, oneshot::Receiver<Reply>) {
        let (reply, response) = oneshot::channel();
        let pending = Pending { frame: frame.into(), copies: 0, live: 0, reply: Some(reply) };
        lock(&self.pending).insert(id, pending);
        self.work.send_replace(());
        (Submission { exchange: Arc::clone(self), id }, response)
    }

    /// The requests that wait.
    pub fn waiting(&self) -> Vec<EventId> {
        lock(&self.pending).keys().copied().collect()
    }

    /// Counts a copy and returns its message; `None` if nobody waits any longer. From here on the wallet may get it.
    pub fn begin_copy(&self, id: EventId) -> Option<Arc<str>> {
        let mut pending = lock(&self.pending);
        let request = pending.get_mut(&id).filter(|request| request.reply.is_some())?;
        request.copies += 1;
        request.live += 1;
        Some(Arc::clone(&request.frame))
    }

    /// A relay has refused its copy. The request is over when `finally` and no copy and no other relay is left.
    pub fn copy_rejected(&self, id: EventId, reason: String, finally: bool) {
        let ready = self.links.borrow().ready;
        let mut pending = lock(&self.pending);
        let Some(request) = pending.get_mut(&id) else { return };
        request.live = request.live.saturating_sub(1);
        let tried_all = usize::try_from(request.copies).unwrap_or(usize::MAX) >= ready;
        if finally && request.live == 0 && tried_all {
            if let Some(reply) = request.reply.take() {
                let _ = reply.send(Reply::Rejected(reason));
            }
        } else {
            drop(pending);
            self.note_fault(reason);
        }
    }

    /// Remembers why a relay cannot be used, for the error of requests that nobody takes.
    pub fn note_fault(&self, fault: String) {
        self.links.send_if_modified(|links| {
            links.fault = Some(fault);
            false
        });
    }

    /// A relay is ready until the guard is dropped.
    pub fn relay_ready(self: &Arc<Self>) -> ReadyGuard {
        self.links.send_modify(|links| links.ready += 1);
        ReadyGuard(Arc::clone(self))
    }

    /// Takes an event from a relay. Events that are not from the wallet, or that nobody waits for, are ignored.
    pub fn receive(&self, event: &Event) {
        if event.pubkey != self.wallet {
            return;
        }
        match event.kind {
            Kind::WalletConnectInfo => self.receive_info(event),
            Kind::WalletConnectResponse => self.receive_response(event),
            Kind::WalletConnectNotification => self.receive_notification(event, Cipher::Nip04),
            Kind::WalletConnectNotificationNip44V2 => self.receive_notification(event, Cipher::Nip44),
            _ => {}
        }
    }

    fn receive_info(&self, event: &Event) {
        let created_at = event.created_at.as_secs();
        let outdated = lock(&self.info).is_some_and(|known| known.created_at >= created_at);
        if outdated || event.verify().is_err() {
            return;
        }
        let listed = |list: &str| list.split_whitespace().any(|name| name == "payment_received");
        *lock(&self.info) = Some(Info {
            created_at,
            cipher: Cipher::of_info(tag(event, "encryption")),
            notifies: tag(event, "notifications").is_some_and(listed),
        });
        *lock(&self.cipher_override) = None;
        self.links.send_if_modified(|links| !std::mem::replace(&mut links.informed, true));
    }

    fn receive_response(&self, event: &Event) {
        let named = event.tags.iter().filter(|tag| tag.kind() == "e").filter_map(|tag| tag.content());
        let ids: Vec<_> = named.filter_map(|id| EventId::from_hex(id).ok()).collect();
        let waiting =
            |pending: &HashMap<EventId, Pending>| ids.iter().copied().find(|id| pending.contains_key(id));
        let Some(id) = waiting(&lock(&self.pending)) else { return };
        // Without the lock: this takes a while.
        if event.verify().is_err() {
            return;
        }
        let Ok(text) = decrypt(&self.keys, &self.wallet, &event.content) else {
            tracing::warn!("ignored a response of the wallet that cannot be decrypted");
            return;
        };
        let reply = lock(&self.pending).get_mut(&id).and_then(|request| request.reply.take());
        if let Some(reply) = reply {
            let _ = reply.send(Reply::Response(text));
        }
    }

    fn receive_notification(&self, event: &Event, cipher: Cipher) {
        // A wallet that supports both encryptions sends each notification twice.
        if cipher != self.cipher() || self.notified.receiver_count() == 0 || event.verify().is_err() {
            return;
        }
        {
            let mut seen = lock(&self.seen);
            if seen.contains(&event.id) {
                return;
            }
            if seen.len() == SEEN_MAX {
                seen.pop_front();
            }
            seen.push_back(event.id);
        }
        let Ok(text) = decrypt(&self.keys, &self.wallet, &event.content) else {
            tracing::warn!("ignored a notification of the wallet that cannot be decrypted");
            return;
        };
        let notice = read_notice(&text).and_then(|(kind, hash)| Some((kind, hash.parse().ok()?)));
        if let Some(notice) = notice {
            let _ = self.notified.send(notice);
        }
    }
}

/// A request that waits. Dropping it ends the wait: relays that connect later are not given the request.
pub(crate) struct Submission {
    exchange: Arc<Exchange>,
    id: EventId,
}

/// What is known about the copies of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copies {
    /// How often the request was handed to a relay.
    pub sent: u32,
    /// How many of these no relay has refused.
    pub live: u32,
}

impl Submission {
    /// Ends the wait. No further copy is sent after the returned count.
    pub fn finish(self) -> Copies {
        let copies = lock(&self.exchange.pending).remove(&self.id);
        copies.map_or(Copies { sent: 0, live: 0 }, |request| Copies {
            sent: request.copies,
            live: request.live,
        })
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        lock(&self.exchange.pending).remove(&self.id);
    }
}

/// A relay that is connected and delivers the wallet's events.
pub(crate) struct ReadyGuard(Arc<Exchange>);

impl Drop for ReadyGuard {
    fn drop(&mut self) {
        self.0.links.send_modify(|links| {
            links.ready -= 1;
            if links.ready == 0 {
                links.outages += 1;
            }
        });
    }
}
