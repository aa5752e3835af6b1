//! A relay between the wallet and the service.

use crate::service::Service;
use futures_util::{SinkExt, StreamExt};
use nostr::event::Kind;
use nostr::message::{ClientMessage, RelayMessage};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// What a relay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    /// Requests are refused with this reason.
    Rejects(&'static str),
    /// The connection is lost when a request arrives, before it is delivered.
    Breaks,
    /// Clients must authenticate (NIP-42).
    AsksWho,
    /// The relay never says that a subscription is complete.
    NeverReady,
    /// The relay keeps connections open and neither reads nor writes.
    Frozen,
}

struct Shared {
    service: Arc<Service>,
    mode: watch::Sender<Mode>,
    open: watch::Sender<usize>,
}

/// A running relay. It stops when it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    /// Never listens: nobody else gets the port while the relay is stopped.
    _reserved: TcpSocket,
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
    stop: watch::Sender<u32>,
}

impl Relay {
    pub fn start(service: &Arc<Service>) -> Self {
        let shared = Shared {
            service: Arc::clone(service),
            mode: watch::Sender::new(Mode::Works),
            open: watch::Sender::new(0),
        };
        let reserved = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let relay = Self {
            address: reserved.local_addr().unwrap(),
            _reserved: reserved,
            shared: Arc::new(shared),
            task: Mutex::default(),
            stop: watch::Sender::new(0),
        };
        relay.restart();
        relay
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Closes the port and all connections.
    pub async fn stop(&self) {
        let task = self.task.lock().unwrap().take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
        self.stop.send_modify(|stops| *stops += 1);
        self.connections(0).await;
    }

    /// Opens the same port again.
    pub fn restart(&self) {
        self.listen(bind(self.address).listen(1_024).unwrap());
    }

    /// Waits until this many connections are open.
    pub async fn connections(&self, count: usize) {
        self.shared.open.subscribe().wait_for(|open| *open == count).await.unwrap();
    }

    fn listen(&self, listener: TcpListener) {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.subscribe());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, mut stop) = (Arc::clone(&shared), stop.clone());
                tokio::spawn(async move {
                    shared.open.send_modify(|open| *open += 1);
                    tokio::select! {
                        _ = stop.changed() => {}
                        _ = serve(&shared, stream) => {}
                    }
                    shared.open.send_modify(|open| *open -= 1);
                });
            }
        });
        *self.task.lock().unwrap() = Some(task);
    }
}

/// Several sockets of ours can be bound to one port, and no other program's can.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: RelayMessage<'_>) -> Option<()> {
    socket.send(Message::text(message.as_json())).await.ok()
}

/// Serves one connection until it is lost.
async fn serve(shared: &Shared, stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut socket = accept_async(stream).await.ok()?;
    let mut events = shared.service.subscribe();
    let mut mode = shared.mode.subscribe();
    let mut known = *mode.borrow() != Mode::AsksWho;
    let mut subscription = None;
    if !known {
        say(&mut socket, RelayMessage::auth("prove it")).await?;
    }
    loop {
        mode.wait_for(|mode| *mode != Mode::Frozen).await.ok()?;
        tokio::select! {
            // Whoever changes the mode may send something in the same moment.
            biased;
            _ = mode.changed() => {}
            event = events.recv() => {
                if let Some(id) = &subscription {
                    say(&mut socket, RelayMessage::event(Clone::clone(id), event.ok()?)).await?;
                }
            }
            frame = socket.next() => {
                let Message::Text(text) = frame?.ok()? else { continue };
                let mode = *mode.borrow();
                match ClientMessage::from_json(text.as_str()).unwrap() {
                    ClientMessage::Req { subscription_id, .. } => {
                        let id = subscription_id.into_owned();
                        if !known {
                            say(&mut socket, RelayMessage::closed(id, "auth-required: who are you")).await?;
                            continue;
                        }
                        if let Some(info) = shared.service.info_event() {
                            say(&mut socket, RelayMessage::event(id.clone(), info)).await?;
                        }
                        if mode != Mode::NeverReady {
                            say(&mut socket, RelayMessage::eose(id.clone())).await?;
                        }
                        subscription = Some(id);
                    }
                    ClientMessage::Auth(event) => {
                        known = event.kind == Kind::Authentication && event.verify().is_ok()
                            && event.tags.iter().any(|tag| tag.content() == Some("prove it"));
                        say(&mut socket, RelayMessage::ok(event.id, known, "")).await?;
                    }
                    ClientMessage::Event(_) if mode == Mode::Breaks => return None,
                    ClientMessage::Event(event) => {
                        let refusal = match mode {
                            _ if !known => Some("auth-required: who are you"),
                            Mode::Rejects(reason) => Some(reason),
                            _ => None,
                        };
                        say(&mut socket, RelayMessage::ok(event.id, refusal.is_none(), refusal.unwrap_or(""))).await?;
                        if refusal.is_none() {
                            shared.service.take(&event);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
