//! Reading event streams.

use super::{Seen, TestApp};
use reqwest::{Method, Response};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// A stream of events.
pub(crate) struct Events {
    response: Response,
    unread: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

impl TestApp {
    /// Follows a job, starting after an event id.
    pub(crate) async fn follow(&self, job: &str, after: Option<&str>) -> Events {
        let path = format!("/api/jobs/{job}/events");
        let mut request = self.request(Method::GET, &path).timeout(Duration::from_secs(50));
        if let Some(id) = after {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.unwrap();
        let headers = response.headers();
        assert!(headers.contains_key("x-request-id"));
        // 204: no events remain, and a browser's EventSource does not reconnect.
        if response.status() != 204 {
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(headers["content-type"], "text/event-stream");
            assert_eq!(headers["cache-control"], "no-store");
        }
        Events { response, unread: Vec::new(), seen: self.seen.clone() }
    }

    /// Follows a job to the end of its stream.
    pub(crate) async fn follow_to_the_end(&self, job: &str, after: Option<&str>) -> Vec<Event> {
        self.follow(job, after).await.rest().await
    }
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.unread.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
                let block = block.trim_end().to_owned();
                if let Some(event) = event(&block) {
                    self.seen.lock().unwrap().bodies.push(block);
                    return Some(event);
                }
            }
            let Some(bytes) = self.response.chunk().await.unwrap() else {
                assert_eq!(self.unread, b"", "the stream ended within an event");
                return None;
            };
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// All remaining events.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// Parses an event; `None` for comments and for blocks that only set the reconnect delay.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let (name, id, data) = (field("event: ")?, field("id: ")?, field("data: ")?);
    assert_eq!(block.lines().count(), 3, "{block:?}");
    Some(Event { name, id, data: serde_json::from_str(&data).unwrap() })
}

/// The text of the deltas, concatenated.
pub(crate) fn text_of(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.name == "delta")
        .map(|event| event.data["text"].as_str().unwrap())
        .collect()
}

/// The ids, in order.
pub(crate) fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}
