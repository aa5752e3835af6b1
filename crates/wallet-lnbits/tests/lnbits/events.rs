//! The stream of received payments.

use crate::lnbits::{
    INVOICE_HASH, KEY, LIMIT, Lnbits, REFUND_HASH, error, hash, invoice, refund, settings, with,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tithe_lightning::{ReceivedPayments, Wallet, WalletError};
use tithe_wallet_lnbits::LnbitsWallet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use wiremock::ResponseTemplate;
use wiremock::matchers::{header, method, path};

/// A scripted LNbits with a WebSocket: requests go to the scripted server, connections to `/api/v1/ws/…` to the test.
struct WithSocket {
    lnbits: Lnbits,
    wallet: LnbitsWallet,
    sockets: mpsc::UnboundedReceiver<WebSocketStream<TcpStream>>,
}

async fn start() -> WithSocket {
    let lnbits = Lnbits::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/lnbits/", listener.local_addr().unwrap());
    let (to_test, sockets) = mpsc::unbounded_channel();
    let behind = *lnbits.server.address();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let to_test = to_test.clone();
            tokio::spawn(async move {
                let mut start = [0; 256];
                let length = stream.peek(&mut start).await.unwrap();
                let start = String::from_utf8_lossy(&start[..length]).into_owned();
                if start.starts_with(&format!("GET /lnbits/api/v1/ws/{KEY} ")) {
                    let _sent = to_test.send(tokio_tungstenite::accept_async(stream).await.unwrap());
                } else {
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    let _copied = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                }
            });
        }
    });
    let wallet = LnbitsWallet::new(&settings(&url), lnbits.clock.clone()).unwrap();
    WithSocket { lnbits, wallet, sockets }
}

impl WithSocket {
    /// The response to a GET request. The connection is closed, so that the WebSocket gets one of its own.
    async fn answer(&self, at: &str, status: u16, body: Value) {
        let response = ResponseTemplate::new(status).set_body_json(body).insert_header("Connection", "close");
        let request = wiremock::Mock::given(method("GET")).and(path(format!("/lnbits/api/v1/{at}")));
        request.and(header("X-Api-Key", KEY)).respond_with(response).mount(&self.lnbits.server).await;
    }

    /// Subscribes, and returns the stream and LNbits' side of the connection.
    async fn subscribe(&mut self) -> (ReceivedPayments, WebSocketStream<TcpStream>) {
        self.answer("wallet", 200, json!({ "name": "merchant", "balance": 0 })).await;
        let stream = timeout(LIMIT, self.wallet.payments_received()).await.unwrap().unwrap();
        let socket = timeout(LIMIT, self.sockets.recv()).await.unwrap().unwrap();
        (stream, socket)
    }
}

fn paid() -> Value {
    with(invoice(), json!({ "status": "success" }))
}

fn event(record: &Value) -> Message {
    Message::text(json!({ "wallet_balance": 21, "payment": record }).to_string())
}

#[tokio::test]
async fn a_payment_that_lnbits_announces_is_looked_up() {
    let mut lnbits = start().await;
    let (mut payments, mut socket) = lnbits.subscribe().await;
    let looked_up = with(paid(), json!({ "fee": -300 }));
    lnbits
        .answer(&format!("payments/{INVOICE_HASH}"), 200, json!({ "paid": true, "details": looked_up }))
        .await;
    // The event overstates the amount, and comes twice.
    let overstated = event(&with(paid(), json!({ "amount": 99_000, "fee": 0 })));
    socket.send(overstated.clone()).await.unwrap();
    socket.send(overstated).await.unwrap();
    for _ in 0..2 {
        let received = timeout(LIMIT, payments.next()).await.unwrap().unwrap();
        assert_eq!(received.payment_hash, hash(INVOICE_HASH));
        assert_eq!((received.amount.get(), received.liquidity_fee.get()), (21_000, 300));
    }
}

#[tokio::test]
async fn events_that_are_no_evidence_are_skipped() {
    let mut lnbits = start().await;
    let (mut payments, mut socket) = lnbits.subscribe().await;
    let unpaid = "ab".repeat(32);
    lnbits.answer(&format!("payments/{INVOICE_HASH}"), 200, json!({ "paid": true, "details": paid() })).await;
    let pending = with(invoice(), json!({ "payment_hash": unpaid }));
    lnbits.answer(&format!("payments/{unpaid}"), 200, json!({ "paid": false, "details": pending })).await;
    let broken = "cd".repeat(32);
    lnbits.answer(&format!("payments/{broken}"), 500, error("Unexpected error! ID: x")).await;
    for message in [
        Message::text("{}"),
        Message::text("not JSON"),
        Message::text(r#"{"pending":false,"status":"success"}"#),
        Message::binary(vec![1, 2, 3]),
        Message::Ping(vec![1].into()),
        event(&refund()),
        event(&with(paid(), json!({ "payment_hash": unpaid }))),
        event(&with(paid(), json!({ "payment_hash": broken }))),
        event(&paid()),
    ] {
        socket.send(message).await.unwrap();
    }
    let received = timeout(LIMIT, payments.next()).await.unwrap().unwrap();
    assert_eq!(received.payment_hash, hash(INVOICE_HASH));
    let requests = lnbits.lnbits.server.received_requests().await.unwrap();
    assert!(!requests.iter().any(|request| request.url.path().contains(REFUND_HASH)));
}

#[tokio::test]
async fn the_stream_ends_when_the_connection_does() {
    for politely in [true, false] {
        let mut lnbits = start().await;
        let (mut payments, mut socket) = lnbits.subscribe().await;
        if politely {
            socket.close(None).await.unwrap();
        }
        drop(socket);
        assert_eq!(timeout(LIMIT, payments.next()).await.unwrap(), None, "{politely}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_an_error_although_lnbits_accepts_the_connection() {
    let lnbits = start().await;
    lnbits.answer("wallet", 404, error("Wallet not found.")).await;
    let failure = lnbits.wallet.payments_received().await.err().unwrap();
    assert!(matches!(&failure, WalletError::Refused(text) if text == "Wallet not found."), "{failure:?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_websocket_is_an_error() {
    for (status, unavailable) in [(200, false), (404, false), (502, true)] {
        let lnbits = Lnbits::start().await;
        let wallet = ResponseTemplate::new(200).set_body_json(json!({ "balance": 0 }));
        crate::lnbits::get("/api/v1/wallet").respond_with(wallet).mount(&lnbits.server).await;
        let socket = wiremock::Mock::given(method("GET")).and(path(format!("/api/v1/ws/{KEY}")));
        socket.respond_with(ResponseTemplate::new(status)).mount(&lnbits.server).await;
        let failure = lnbits.wallet.payments_received().await.err().unwrap();
        assert_eq!(matches!(failure, WalletError::Unavailable(_)), unavailable, "{status}: {failure:?}");
        assert!(!format!("{failure:?}").contains(KEY), "{failure:?}");
    }
}
