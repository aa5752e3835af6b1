//! The websocket that announces received payments.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answers::PaymentReceived;
use super::wallet::Wallet;
use crate::http::{HttpRequest, HttpResponse, header, text};
use tithe_lightning::PaymentHash;

/// As phoenixd.
const PING: Duration = Duration::from_secs(10);

/// Accepts a websocket.
pub fn upgrade(wallet: &Arc<Wallet>, mut request: HttpRequest) -> HttpResponse {
    let Some(key) = header(&request, SEC_WEBSOCKET_KEY) else {
        return text(StatusCode::BAD_REQUEST, "Can \"Upgrade\" only to \"WebSocket\".");
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let protocol = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
    // Subscribed before the client knows that it is connected, so that it misses nothing from then on.
    let news = wallet.news();
    tokio::spawn(run(Arc::clone(wallet), news, wallet.cuts(), hyper::upgrade::on(&mut request)));
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

async fn run(
    wallet: Arc<Wallet>,
    mut news: broadcast::Receiver<PaymentHash>,
    mut cuts: watch::Receiver<()>,
    upgrade: OnUpgrade,
) -> Option<()> {
    let connection = TokioIo::new(upgrade.await.ok()?);
    let mut socket: WebSocketStream<TokioIo<Upgraded>> =
        WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
    let mut pings = tokio::time::interval(PING);
    loop {
        let message = tokio::select! {
            received = news.recv() => match received {
                Ok(hash) => announcement(&wallet, hash),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return None,
            },
            read = socket.next() => match read {
                Some(Ok(_)) => None,
                Some(Err(_)) | None => return None,
            },
            _ = cuts.changed() => return None,
            _ = pings.tick() => Some(Message::Ping(bytes::Bytes::new())),
        };
        if let Some(message) = message {
            socket.send(message).await.ok()?;
        }
    }
}

fn announcement(wallet: &Wallet, hash: PaymentHash) -> Option<Message> {
    let payment = wallet.node.incoming(hash).filter(|_| wallet.notifies())?;
    let event = PaymentReceived::of(wallet, &payment)?;
    serde_json::to_string_pretty(&event).ok().map(Message::from)
}
