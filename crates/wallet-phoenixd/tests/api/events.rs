//! Payments as they arrive.

use crate::bench::{Bench, PREIMAGE, WRONG_PREIMAGE, authorization, msats, not_found, ok, settings};
use crate::status::{paid, path};
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use tithe_lightning::{PaymentHash, Wallet, WalletError};
use tithe_wallet_phoenixd::PhoenixdWallet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// A server in front of the bench's: it takes websockets itself and passes everything else on.
async fn front(bench: &Bench) -> (PhoenixdWallet, mpsc::UnboundedReceiver<WebSocketStream<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind = *bench.server.address();
    let (sockets, accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, behind, sockets.clone()));
        }
    });
    (PhoenixdWallet::new(&settings(&url), bench.clock.clone()).unwrap(), accepted)
}

async fn serve(
    mut stream: TcpStream,
    behind: SocketAddr,
    sockets: mpsc::UnboundedSender<WebSocketStream<TcpStream>>,
) {
    const WEBSOCKET: &[u8] = b"GET /websocket ";
    let mut start = [0; WEBSOCKET.len()];
    while stream.peek(&mut start).await.is_ok_and(|length| 0 < length && length < start.len()) {
        tokio::task::yield_now().await;
    }
    if start == WEBSOCKET {
        if let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, authorized).await {
            sockets.send(socket).unwrap();
        }
    } else {
        let mut onward = TcpStream::connect(behind).await.unwrap();
        // Either side may hang up.
        drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
    }
}

#[expect(clippy::result_large_err, reason = "the callback's type")]
fn authorized(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let authorized = request.headers().get("authorization").is_some_and(|value| value == &authorization());
    if authorized { Ok(response) } else { Err(ErrorResponse::new(None)) }
}

fn event(hash: PaymentHash) -> Message {
    Message::text(format!(
        r#"{{"type":"payment_received","timestamp":1,"amountSat":7,"paymentHash":"{hash}","externalId":"5"}}"#
    ))
}

#[tokio::test]
async fn a_reported_payment_is_looked_up_and_the_report_itself_is_not_believed() {
    let bench = Bench::new().await;
    bench.get(&path(), ok(&paid(123, 877_000))).await;
    let unknown = WRONG_PREIMAGE.payment_hash();
    bench.get(&format!("/payments/incoming/{unknown}"), not_found()).await;
    let (wallet, mut accepted) = front(&bench).await;
    let mut payments = wallet.payments_received().await.unwrap();
    let mut server = accepted.recv().await.unwrap();
    server.send(Message::text(r#"{"type":"something_new"}"#)).await.unwrap();
    server.send(event(unknown)).await.unwrap();
    server.send(event(PREIMAGE.payment_hash())).await.unwrap();
    let payment = payments.next().await.unwrap();
    assert_eq!(payment.payment_hash, PREIMAGE.payment_hash());
    assert_eq!((payment.amount, payment.liquidity_fee), (msats(1_000_000), msats(877_000)));
    assert_eq!(payment.preimage, Some(PREIMAGE));
}

#[tokio::test]
async fn the_stream_ends_with_the_connection_and_a_new_one_can_be_opened() {
    let bench = Bench::new().await;
    bench.get(&path(), ok(&paid(1_000, 0))).await;
    let (wallet, mut accepted) = front(&bench).await;
    for _ in 0..2 {
        let mut payments = wallet.payments_received().await.unwrap();
        let mut server = accepted.recv().await.unwrap();
        server.send(event(PREIMAGE.payment_hash())).await.unwrap();
        assert!(payments.next().await.is_some());
        drop(server);
        assert_eq!(payments.next().await, None);
    }
}

#[tokio::test]
async fn a_websocket_that_is_refused_is_an_error() {
    let bench = Bench::new().await;
    // The bench's server knows no websocket.
    let missing = bench.wallet.payments_received().await;
    assert!(matches!(missing, Err(WalletError::Unavailable(Some(_)))), "{:?}", missing.err());
    bench.get("/websocket", wiremock::ResponseTemplate::new(401)).await;
    let refused = bench.wallet.payments_received().await;
    assert!(matches!(refused, Err(WalletError::Refused(_))), "{:?}", refused.err());
}
