//! A customer of the server, over one connection.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection, with one request in flight.
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        credential: Option<(&str, &str)>,
        key: Option<&str>,
        body: &Value,
        expected: u16,
    ) -> Value {
        let token = credential.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        let key = key.map_or_else(String::new, |key| format!("Idempotency-Key: {key}\r\n"));
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{token}{key}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, answer) = self.exchange(&request).await;
        assert_eq!(status, expected, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str, prefer: &str) -> Value {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nPrefer: {prefer}\r\n\r\n");
        let (status, answer) = self.exchange(&request).await;
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    async fn exchange(&mut self, request: &str) -> (u16, String) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            let read = self.stream.read_buf(&mut answer).await.unwrap();
            assert_ne!(read, 0, "the server closed the connection");
            if let Some(whole) = whole(&answer) {
                return whole;
            }
        }
    }
}

/// The status and the body of a response that has arrived completely.
fn whole(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
    let status = head[9..12].parse().unwrap();
    let body = &answer[end + 4..];
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length:")) {
        let length: usize = length.trim().parse().unwrap();
        return (body.len() >= length).then(|| (status, text(&body[..length])));
    }
    // Long texts come in chunks.
    let (mut rest, mut all) = (body, Vec::new());
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = rest.get(line + 2..)?;
        if length == 0 {
            return (rest.len() >= 2).then(|| (status, text(&all)));
        }
        all.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}
