//! A server that decides byte by byte what it sends and when it stops.

use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What the server does after the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Ends the answer as HTTP wants it.
    End,
    /// Closes the connection in the middle of the answer.
    HangUp,
    /// Says nothing more.
    Stall,
}

pub(crate) struct RawServer {
    pub(crate) url: String,
    /// Resolves when the client has closed the connection.
    pub(crate) client_left: oneshot::Receiver<()>,
}

/// Answers one request with `pieces` of an event stream, each a chunk of its own.
pub(crate) async fn stream(pieces: &[&[u8]], then: Then) -> RawServer {
    let mut parts = vec![
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
    ];
    for piece in pieces {
        parts.push([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    if then == Then::End {
        parts.push(b"0\r\n\r\n".to_vec());
    }
    serve(parts, then).await
}

/// Takes one request and never answers.
pub(crate) async fn silence() -> RawServer {
    serve(Vec::new(), Then::Stall).await
}

/// Answers one request with `parts`, whatever they are.
pub(crate) async fn serve(parts: Vec<Vec<u8>>, then: Then) -> RawServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (client_is_gone, client_left) = oneshot::channel();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        // The client may give up at any time, which is what some tests are about.
        if converse(&mut socket, &parts).await.is_ok() && then == Then::HangUp {
            return;
        }
        let mut rest = Vec::new();
        let _ended_or_reset = socket.read_to_end(&mut rest).await;
        let _nobody_waits = client_is_gone.send(());
    });
    RawServer { url, client_left }
}

async fn converse(socket: &mut TcpStream, parts: &[Vec<u8>]) -> io::Result<()> {
    let mut request = Vec::new();
    while !is_complete(&request) {
        if socket.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    for part in parts {
        socket.write_all(part).await?;
    }
    socket.flush().await
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() >= length.parse().unwrap()
}
