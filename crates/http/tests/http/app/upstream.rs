//! A service behind mounted routes.

use super::Gate;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tithe_engine::mounts::{Method, Mount};
use tithe_pricing::CallPrice;
use tithe_upstream_http::{HttpUpstream, UpstreamHeaders, UpstreamSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the service answers.
#[derive(Clone)]
pub(crate) enum Says {
    /// This, and then it closes the connection.
    Bytes(Vec<u8>),
    /// The pieces, the second and all later ones once the gate is open.
    Gated(Vec<Vec<u8>>, Gate),
    /// Nothing.
    Nothing,
}

impl Says {
    /// A whole answer.
    pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "HTTP/1.1 {status} Something\r\nContent-Length: {}\r\n{}\r\n",
            body.len(),
            headers.concat()
        );
        Self::Bytes([head.as_bytes(), body].concat())
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::whole(status, &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// An answer that says to be longer than it is.
    pub(crate) fn cut(body: &str) -> Self {
        Self::Bytes(
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n{body}")
                .into_bytes(),
        )
    }
}

/// A chunk of a stream; the last one is empty.
pub(crate) fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// The beginning of a stream of events.
pub(crate) fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
}

/// A running service.
#[derive(Clone)]
pub(crate) struct TestUpstream {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl TestUpstream {
    /// A service that answers this.
    pub(crate) async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, says)
    }

    fn on(listener: TcpListener, says: Says) -> Self {
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, says: Arc::new(Mutex::new(says)), calls: Arc::default() };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(connection).await });
            }
        });
        upstream
    }

    /// An address at which nobody listens yet.
    pub(crate) async fn absent() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// Starts to listen there.
    pub(crate) async fn appear(address: SocketAddr, says: Says) -> Self {
        Self::on(TcpListener::bind(address).await.unwrap(), says)
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// The requests that it got: head and body.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    async fn serve(&self, mut connection: TcpStream) {
        let mut request = Vec::new();
        loop {
            let mut piece = [0; 4096];
            match connection.read(&mut piece).await {
                // Somebody has only looked whether there is a connection.
                Ok(0) | Err(_) => return,
                Ok(read) => request.extend_from_slice(&piece[..read]),
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                self.calls.lock().unwrap().push(text);
                break;
            }
        }
        let says = self.says.lock().unwrap().clone();
        match says {
            Says::Bytes(bytes) => drop(connection.write_all(&bytes).await),
            Says::Gated(pieces, gate) => {
                let mut pieces = pieces.into_iter();
                let _first = connection.write_all(&pieces.next().unwrap()).await;
                gate.pass().await;
                for piece in pieces {
                    let _sent = connection.write_all(&piece).await;
                }
            }
            Says::Nothing => std::future::pending().await,
        }
    }
}

/// A route to a service at this address: POST and GET, patient for two seconds, for answers of at most 1000 bytes.
pub(crate) fn mount(path: &str, address: SocketAddr, price: CallPrice) -> Mount {
    let mut headers = UpstreamHeaders::default();
    headers.add("X-Operator-Key", "operators-secret").unwrap();
    let settings = UpstreamSettings {
        url: format!("http://{address}/service").parse().unwrap(),
        headers,
        timeout: Duration::from_secs(2),
        response_bytes_max: 1000,
    };
    Mount {
        path: path.parse().unwrap(),
        methods: vec![Method::Post, Method::Get],
        price,
        passed_headers: vec!["x-units".to_owned()],
        request_bytes_max: 1000,
        upstream: Arc::new(HttpUpstream::new(settings).unwrap()),
    }
}
