//! A proxy that changes a server's answers.

use crate::server::Server;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A request, as far as a tamperer looks at it.
pub(crate) struct Asked {
    /// The method and the path, such as `GET /api/pool`.
    pub(crate) line: String,
    /// The header lines, in lower case.
    head: String,
}

impl Asked {
    pub(crate) fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|found| found == line)
    }
}

/// An answer.
pub(crate) struct Answered {
    pub(crate) status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Answered {
    /// Whether there is such a header, named in lower case.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))
    }

    /// Whether this is a problem with this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        serde_json::from_slice::<Value>(&self.body).is_ok_and(|body| body["code"] == code)
    }

    /// Drops a header.
    pub(crate) fn drop_header(&mut self, name: &str) {
        self.headers.retain(|line| !line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    }

    /// Changes the body, if it is JSON.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        if let Ok(mut body) = serde_json::from_slice(&self.body) {
            edit(&mut body);
            self.body = body.to_string().into_bytes();
        }
    }

    /// Adds to a number of the body, if it is there.
    pub(crate) fn add(&mut self, pointer: &str, more: u64) {
        self.edit(|body| {
            if let Some(number) = body.pointer_mut(pointer) {
                *number = (number.as_u64().unwrap() + more).into();
            }
        });
    }

    /// Changes the text of the body, such as that of a stream.
    pub(crate) fn edit_text(&mut self, edit: impl FnOnce(&str) -> String) {
        self.body = edit(&String::from_utf8_lossy(&self.body)).into_bytes();
    }

    /// Answers something else.
    pub(crate) fn replace(&mut self, status: u16, body: &Value) {
        (self.status, self.body) = (status, body.to_string().into_bytes());
    }
}

/// Changes an answer.
pub(crate) type Tamper = dyn Fn(&Asked, &mut Answered) + Send + Sync;

/// A proxy in front of a server, until it is dropped.
pub(crate) struct Proxy {
    address: String,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(
        server: &Server,
        tamper: impl Fn(&Asked, &mut Answered) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stopping, upstream) = (Arc::new(AtomicBool::new(false)), server.address.clone());
        let (tamper, stopped): (Arc<Tamper>, _) = (Arc::new(tamper), Arc::clone(&stopping));
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let (client, upstream, tamper) = (client.unwrap(), upstream.clone(), Arc::clone(&tamper));
                // A client that leaves ends its connection; the test sees that elsewhere.
                std::thread::spawn(move || forward(&client, &upstream, &*tamper).ok());
            }
        });
        Self { address, stopping, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _woken = TcpStream::connect(&self.address);
        let _ended = self.accepting.take().unwrap().join();
    }
}

/// The lines up to the empty one, without it.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => return Ok(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

fn length_in(head: &[String]) -> Option<u64> {
    let mut lower = head.iter().map(|line| line.to_ascii_lowercase());
    lower.find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
}

/// A body that comes in chunks.
fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim_end(), 16).unwrap_or_default();
        if size == 0 {
            return Ok(body);
        }
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_exact(&mut [0; 2])?;
    }
}

/// Forwards one request of a connection, and closes it. Streams of the AI API are short: they are changed like any other answer.
fn forward(client: &TcpStream, upstream: &str, tamper: &Tamper) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let head = read_head(&mut reader)?;
    let Some(line) = head.first() else { return Ok(()) };
    let mut body = Vec::new();
    (&mut reader).take(length_in(&head).unwrap_or(0)).read_to_end(&mut body)?;
    let asked = Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        head: head.join("\n").to_ascii_lowercase(),
    };

    let mut server = TcpStream::connect(upstream)?;
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n")).as_bytes())?;
    // A server may refuse a body without reading it.
    let _refused = server.write_all(&body);
    let mut answer = BufReader::new(server);
    let mut headers = read_head(&mut answer)?;
    if headers.is_empty() {
        return Ok(());
    }
    let status = headers.remove(0).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    headers.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut client = client;
    let is_stream = headers.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream"));
    if is_stream && !asked.line.starts_with("POST /v1/") {
        // Events are forwarded as they come, in chunks as they are.
        client.write_all(
            format!("HTTP/1.1 {status} -\r\n{}\r\nConnection: close\r\n\r\n", headers.join("\r\n"))
                .as_bytes(),
        )?;
        std::io::copy(&mut answer, &mut client)?;
        return Ok(());
    }
    let mut body = Vec::new();
    match length_in(&headers) {
        None if is_stream => body = read_chunks(&mut answer)?,
        length => _ = answer.take(length.unwrap_or(0)).read_to_end(&mut body)?,
    }
    headers.retain(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("content-length:") && !line.starts_with("transfer-encoding:")
    });
    let mut answered = Answered { status, headers, body };
    tamper(&asked, &mut answered);
    let Answered { status, headers, body } = answered;
    let head = format!(
        "HTTP/1.1 {status} -\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        headers.join("\r\n"),
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(&body)
}
