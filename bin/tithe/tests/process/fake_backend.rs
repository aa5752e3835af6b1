//! A backend that speaks OpenAI's API and misbehaves as it is told to.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the backend answers a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole answer, or a stream, as it was asked for: these parts of text, then this finish reason and usage.
    Text { parts: Vec<String>, finish: &'static str, usage: Option<Value> },
    /// A stream of these lines of data, which then ends as it ends.
    Stream(Vec<String>),
    /// A status with a body.
    Status(u16, String),
    /// A status with a header and no body.
    Busy { retry_after: u32 },
}

impl Reply {
    pub(crate) fn text(text: &str) -> Self {
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 });
        Self::Text { parts: vec![text.to_owned()], finish: "stop", usage: Some(usage) }
    }

    pub(crate) fn accept() -> Self {
        Self::text(r#"{"accept":true}"#)
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Status(
            status,
            json!({ "error": { "message": message, "type": "error", "code": code } }).to_string(),
        )
    }
}

/// What the backend is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Probe,
    Evaluation(String),
    Work(String),
}

type Script = Box<dyn Fn(&Asked, &str) -> Reply + Send>;

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    stopped: AtomicBool,
}

/// The backend. It listens until it is dropped.
pub(crate) struct FakeBackend {
    pub(crate) address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

impl FakeBackend {
    /// Accepts every request, and answers work with `script`, which gets what is asked and the key that was sent.
    pub(crate) fn start(script: impl Fn(&Asked, &str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            asked: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&accepting));
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// From now on the backend answers like this.
    pub(crate) fn answer(&self, script: impl Fn(&Asked, &str) -> Reply + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Everything that was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The settings of a server that uses this backend.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TITHE_INFERENCE", "openai".to_owned()),
            ("TITHE_INFERENCE_URL", format!("http://{}/v1", self.address)),
            ("TITHE_INFERENCE_API_KEY", "sk-right".to_owned()),
            ("TITHE_EVAL_MODEL", "sim-small".to_owned()),
            ("TITHE_WORK_MODEL", "sim-large".to_owned()),
            ("TITHE_BTC_PRICE_USD", "100000".to_owned()),
        ]
    }
}

impl Drop for FakeBackend {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _wakes_the_listener = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let _gone = self.requests(stream);
    }

    fn requests(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let (mut length, mut key, mut line) = (0, String::new(), String::new());
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            loop {
                line.clear();
                reader.read_line(&mut line)?;
                let line = line.trim();
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "authorization" => value.trim().clone_into(&mut key),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let messages = body["messages"].as_array().unwrap();
            let last = messages.last().unwrap()["content"].as_str().unwrap().to_owned();
            let asked = match messages.len() {
                2 => Asked::Evaluation(last),
                _ if last == "Answer with the word: ok" => Asked::Probe,
                _ => Asked::Work(last),
            };
            let reply = (self.script.lock().unwrap())(&asked, &key);
            self.asked.lock().unwrap().push(asked);
            if !send(&mut stream, &reply, body["stream"] == true)? {
                return Ok(());
            }
        }
    }
}

/// Sends a reply; returns whether the connection can be used again.
fn send(stream: &mut TcpStream, reply: &Reply, streamed: bool) -> std::io::Result<bool> {
    let mut whole = |status: u16, headers: &str, body: &str| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
    };
    match reply {
        Reply::Busy { retry_after } => whole(503, &format!("Retry-After: {retry_after}\r\n"), "{}")?,
        Reply::Status(status, body) => whole(*status, "", body)?,
        Reply::Text { parts, finish, usage } if !streamed => {
            let choice = json!({ "index": 0, "message": { "role": "assistant", "content": parts.concat() }, "finish_reason": finish });
            whole(200, "", &json!({ "choices": [choice], "usage": usage }).to_string())?;
        }
        Reply::Text { parts, finish, usage } => {
            let delta = |text: &String| {
                json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }).to_string()
            };
            let mut lines: Vec<String> = parts.iter().map(delta).collect();
            lines.push(
                json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }], "usage": usage })
                    .to_string(),
            );
            lines.push("[DONE]".to_owned());
            events(stream, &lines)?;
            return Ok(false);
        }
        Reply::Stream(lines) => {
            events(stream, lines)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn events(stream: &mut TcpStream, lines: &[String]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
    for line in lines {
        write!(stream, "data: {line}\n\n")?;
        stream.flush()?;
    }
    Ok(())
}
