//! A wallet service that answers as a test says.

use nostr::event::{Event, EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::key::{Keys, PublicKey};
use nostr::nips::{nip04, nip44};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{broadcast, watch};

/// A request that the service has got.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub method: String,
    pub params: Value,
    /// How many requests of this method came before.
    pub nth: usize,
    pub event: Event,
    pub nip04: bool,
}

impl Call {
    /// The value of the first tag of this name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.event.tags.iter().find(|tag| tag.kind() == name).and_then(|tag| tag.content())
    }

    /// The event of a response with this content.
    pub fn response(&self, keys: &Keys, content: &str) -> Event {
        EventBuilder::new(Kind::WalletConnectResponse, content)
            .tag(Tag::public_key(self.event.pubkey))
            .tag(Tag::event(self.event.id))
            .finalize(keys)
            .unwrap()
    }
}

/// What the service does with a request.
pub(crate) enum Answer {
    Result(Value),
    Error(&'static str),
    /// A decrypted response as it is.
    Text(String),
    Nothing,
    Events(Vec<Event>),
}

type Script = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

pub(crate) struct Service {
    pub keys: Keys,
    /// The tags of the info event; `None` if there is no info event.
    info: Option<Vec<(&'static str, &'static str)>>,
    scripts: Mutex<HashMap<String, Script>>,
    calls: watch::Sender<Vec<Call>>,
    /// All events of the service, which each relay delivers.
    events: broadcast::Sender<Event>,
    /// Whether copies of a request from several relays are carried out once, as they should be.
    pub recognises_copies: AtomicBool,
    seen: Mutex<HashSet<nostr::event::EventId>>,
}

impl Service {
    /// A service with NIP-44, on regtest, that knows no payments.
    pub fn new() -> Arc<Self> {
        Self::with_info(Some(vec![("encryption", "nip44_v2 nip04"), ("notifications", "payment_received")]))
    }

    pub fn with_info(info: Option<Vec<(&'static str, &'static str)>>) -> Arc<Self> {
        let service = Self {
            keys: Keys::generate(),
            info,
            scripts: Mutex::default(),
            calls: watch::Sender::new(Vec::new()),
            events: broadcast::Sender::new(256),
            recognises_copies: AtomicBool::new(true),
            seen: Mutex::default(),
        };
        service.on("get_info", |_| Answer::Result(json!({ "network": "regtest", "methods": [] })));
        service.on("lookup_invoice", |_| Answer::Error("NOT_FOUND"));
        service.on("list_transactions", |_| Answer::Result(json!({ "transactions": [] })));
        Arc::new(service)
    }

    /// From now on, requests of this method are answered so. Others get `NOT_IMPLEMENTED`.
    pub fn on(&self, method: &str, script: impl Fn(&Call) -> Answer + Send + Sync + 'static) {
        self.scripts.lock().unwrap().insert(method.to_owned(), Arc::new(script));
    }

    pub fn on_result(&self, method: &str, result: Value) {
        self.on(method, move |_| Answer::Result(result.clone()));
    }

    pub fn on_error(&self, method: &str, code: &'static str) {
        self.on(method, move |_| Answer::Error(code));
    }

    pub fn calls(&self, method: &str) -> Vec<Call> {
        self.calls.borrow().iter().filter(|call| call.method == method).cloned().collect()
    }

    /// Waits for the first request of this method.
    pub async fn called(&self, method: &str) {
        let mut calls = self.calls.subscribe();
        calls.wait_for(|calls| calls.iter().any(|call| call.method == method)).await.unwrap();
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub fn publish(&self, event: Event) {
        let _ = self.events.send(event);
    }

    pub fn info_event(&self) -> Option<Event> {
        let tags = self.info.as_ref()?.iter().map(|(name, value)| Tag::custom(*name, [*value]));
        let info = EventBuilder::new(Kind::WalletConnectInfo, "pay_invoice").tags(tags);
        Some(info.finalize(&self.keys).unwrap())
    }

    /// A notification for the owner of `to`, in each of the two encryptions.
    pub fn notifications(&self, to: PublicKey, kind: &str, payment_hash: &str) -> [Event; 2] {
        let text = json!({ "notification_type": kind, "notification": { "payment_hash": payment_hash } })
            .to_string();
        let modern = nip44::encrypt(self.keys.secret_key(), &to, &text, nip44::Version::V2).unwrap();
        let old = nip04::encrypt(self.keys.secret_key(), &to, &text).unwrap();
        [(Kind::WalletConnectNotification, old), (Kind::WalletConnectNotificationNip44V2, modern)].map(
            |(kind, content)| {
                EventBuilder::new(kind, content).tag(Tag::public_key(to)).finalize(&self.keys).unwrap()
            },
        )
    }

    /// Carries out a request that a relay delivers.
    pub fn take(&self, event: &Event) {
        event.verify().unwrap();
        assert_eq!(event.kind, Kind::WalletConnectRequest);
        if !self.seen.lock().unwrap().insert(event.id) && self.recognises_copies.load(Ordering::Relaxed) {
            return;
        }
        let secret = self.keys.secret_key();
        let nip04 = event.content.contains("?iv=");
        let text = if nip04 {
            nip04::decrypt(secret, &event.pubkey, &event.content)
        } else {
            nip44::decrypt(secret, &event.pubkey, &event.content)
        };
        let request: Value = serde_json::from_str(&text.unwrap()).unwrap();
        let method = request["method"].as_str().unwrap().to_owned();
        let (nth, params) = (self.calls(&method).len(), request["params"].clone());
        let call = Call { method, params, nth, event: event.clone(), nip04 };
        self.calls.send_modify(|calls| calls.push(call.clone()));

        let script = self.scripts.lock().unwrap().get(&call.method).cloned();
        let method = &call.method;
        let text = match script.map_or(Answer::Error("NOT_IMPLEMENTED"), |script| script(&call)) {
            Answer::Result(result) => {
                json!({ "result_type": method, "error": null, "result": result }).to_string()
            }
            Answer::Error(code) => {
                json!({ "result_type": method, "error": { "code": code, "message": "no" } }).to_string()
            }
            Answer::Text(text) => text,
            Answer::Nothing => return,
            Answer::Events(events) => {
                for event in events {
                    self.publish(event);
                }
                return;
            }
        };
        self.publish(call.response(&self.keys, &self.encrypt(&call, &text)));
    }

    /// Encrypts as the request is encrypted.
    pub fn encrypt(&self, call: &Call, text: &str) -> String {
        let (secret, to) = (self.keys.secret_key(), &call.event.pubkey);
        if call.nip04 {
            nip04::encrypt(secret, to, text).unwrap()
        } else {
            nip44::encrypt(secret, to, text, nip44::Version::V2).unwrap()
        }
    }
}
