//! phoenixd's websocket, which reports payments as they arrive.

use crate::answers::Event;
use crate::api::{Api, Cause};
use crate::incoming;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tithe_lightning::{PaymentHash, ReceivedPayment, ReceivedPayments, WalletError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tracing::{debug, warn};
use url::Url;

/// The server pings every 10 seconds. After this silence we do.
const PING_AFTER: Duration = Duration::from_secs(15);
/// The connection is dead when this many pings in a row brought nothing.
const PINGS_MAX: u32 = 2;
/// An event has some hundred bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The TLS settings for a phoenixd behind a proxy: the certificates that this machine trusts.
pub(crate) fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The time limit for connecting was reached.
#[derive(Debug, thiserror::Error)]
#[error("timeout while connecting to the websocket")]
struct ConnectTimeout;

/// Connects to the websocket.
pub(crate) async fn connect(
    api: &Api,
    tls: Option<Arc<ClientConfig>>,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, WalletError> {
    let unavailable = |cause: Cause| WalletError::Unavailable(Some(cause));
    let request = request(api).map_err(|error| unavailable(error.into()))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let connector = tls.map_or(Connector::Plain, Connector::Rustls);
    let connecting = connect_async_tls_with_config(request, Some(config), false, Some(connector));
    match timeout(api.timeout(), connecting).await {
        Ok(Ok((socket, _response))) => Ok(socket),
        Ok(Err(Error::Http(response))) if matches!(response.status().as_u16(), 401 | 403) => {
            let status = response.status().as_u16();
            Err(WalletError::Refused(format!("websocket: unexpected response: status {status}")))
        }
        Ok(Err(error)) => Err(unavailable(error.into())),
        Err(_elapsed) => Err(unavailable(ConnectTimeout.into())),
    }
}

fn request(api: &Api) -> Result<Request<()>, Error> {
    let mut request = websocket_url(api.url("websocket")).as_str().into_client_request()?;
    let credentials = STANDARD.encode(format!(":{}", api.password().reveal()));
    let mut authorization = HeaderValue::from_str(&format!("Basic {credentials}"))?;
    authorization.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, authorization);
    Ok(request)
}

fn websocket_url(mut url: Url) -> Url {
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    // Only a change between special and other schemes fails.
    if url.set_scheme(scheme).is_err() {
        debug!(scheme, "the scheme of the websocket's address stays as it is");
    }
    url
}

/// The payments that are reported from now on, each looked up: an event says neither what was paid nor what the wallet kept.
pub(crate) fn payments<S>(socket: WebSocketStream<S>, api: Arc<Api>) -> ReceivedPayments
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = (socket, api);
    Box::pin(stream::unfold(state, |(mut socket, api)| async {
        loop {
            let payment_hash = next_event(&mut socket).await?;
            match look_up(&api, payment_hash).await {
                Ok(Some(payment)) => return Some((payment, (socket, api))),
                Ok(None) => {
                    warn!(%payment_hash, "phoenixd reported a payment that it has not received");
                }
                Err(failure) => {
                    // Printed with its causes.
                    let error: &(dyn std::error::Error + 'static) = &failure;
                    warn!(%payment_hash, error, "cannot look up a reported payment; polling will find it");
                }
            }
        }
    }))
}

async fn look_up(api: &Api, payment_hash: PaymentHash) -> Result<Option<ReceivedPayment>, WalletError> {
    match incoming::find(api, payment_hash).await? {
        Some(payment) => payment.received(),
        None => Ok(None),
    }
}

/// The payment hash of the next event; `None` when the connection is lost.
async fn next_event<S>(socket: &mut WebSocketStream<S>) -> Option<PaymentHash>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = 0;
    loop {
        match timeout(PING_AFTER, socket.next()).await {
            Ok(None | Some(Ok(Message::Close(_)))) => {
                debug!("phoenixd closed the websocket");
                return None;
            }
            Ok(Some(Err(failure))) => {
                warn!(error = %failure, "the connection to phoenixd's websocket is lost");
                return None;
            }
            Ok(Some(Ok(message))) => {
                pings = 0;
                if let Some(payment_hash) = payment_received(&message) {
                    return Some(payment_hash);
                }
            }
            Err(_silence) if pings >= PINGS_MAX => {
                debug!("phoenixd's websocket is silent");
                return None;
            }
            Err(_silence) => {
                pings += 1;
                let ping = socket.send(Message::Ping(Bytes::new()));
                if !matches!(timeout(PING_AFTER, ping).await, Ok(Ok(()))) {
                    return None;
                }
            }
        }
    }
}

fn payment_received(message: &Message) -> Option<PaymentHash> {
    let Message::Text(text) = message else { return None };
    match serde_json::from_str::<Event>(text) {
        Ok(event) if event.kind == "payment_received" => event.payment_hash,
        Ok(_) => None,
        Err(failure) => {
            debug!(error = %failure, "unreadable message of phoenixd's websocket");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;
    use tokio_tungstenite::tungstenite::protocol::Role;

    async fn pair() -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (client, server) = tokio::io::duplex(4_096);
        (
            WebSocketStream::from_raw_socket(client, Role::Client, None).await,
            WebSocketStream::from_raw_socket(server, Role::Server, None).await,
        )
    }

    fn event(hash: PaymentHash) -> Message {
        let text =
            format!(r#"{{"type":"payment_received","amountSat":-3,"paymentHash":"{hash}","timestamp":1}}"#);
        Message::text(text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends_within_a_minute() {
        let (mut client, _silent) = pair().await;
        let start = Instant::now();
        assert_eq!(next_event(&mut client).await, None);
        assert_eq!(start.elapsed(), PING_AFTER * (PINGS_MAX + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_connection_lasts_while_the_server_answers_pings() {
        let (mut client, mut server) = pair().await;
        let hash = PaymentHash::from_bytes([9; 32]);
        let answering = async {
            // Reading answers the pings.
            for _ in 0..10 {
                let ping = server.next().await.unwrap().unwrap();
                assert!(ping.is_ping(), "{ping:?}");
            }
            server.send(event(hash)).await.unwrap();
            server
        };
        let (found, _server) = tokio::join!(next_event(&mut client), answering);
        assert_eq!(found, Some(hash));
    }

    #[tokio::test]
    async fn other_messages_are_passed_over_and_a_closed_connection_ends_the_events() {
        let (mut client, mut server) = pair().await;
        let hash = PaymentHash::from_bytes([9; 32]);
        for text in ["no json", r#"{"type":"payment_sent"}"#, r#"{"type":"payment_received"}"#] {
            server.send(Message::text(text)).await.unwrap();
        }
        server.send(event(hash)).await.unwrap();
        assert_eq!(next_event(&mut client).await, Some(hash));
        server.close(None).await.unwrap();
        assert_eq!(next_event(&mut client).await, None);
    }
}
