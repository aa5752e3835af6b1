//! Following a job.

use crate::server::Server;
use reqwest::{Client, Response};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Reads a job's events.
pub(crate) struct Events {
    response: Response,
    unread: Vec<u8>,
}

impl Events {
    pub(crate) async fn of(server: &Server, job: &str) -> Self {
        let response = Client::new().get(server.url(&format!("{job}/events"))).send().await.unwrap();
        Self { response: response.error_for_status().unwrap(), unread: Vec::new() }
    }

    /// The next event's name and data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block = String::from_utf8(self.unread.drain(..end + 2).collect()).unwrap();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                let event = field("event: ").zip(field("data: "));
                let event = event.map(|(name, data)| (name.to_owned(), serde_json::from_str(data).unwrap()));
                if event.is_some() {
                    return event;
                }
            }
            // The server may be killed: then this stream has ended too.
            let Ok(Some(bytes)) = self.response.chunk().await else { return None };
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// Reads on until a state, within `patience`.
    pub(crate) async fn reach(&mut self, state: &str, patience: Duration) -> Value {
        let mut seen = Vec::new();
        let reached = timeout(patience, async {
            while let Some((name, data)) = self.next().await {
                if name == "state" {
                    seen.push(data["state"].clone());
                    if data["state"] == state {
                        return Some(data);
                    }
                }
            }
            None
        });
        let reached = reached.await;
        reached
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("{state} was not reached within {patience:?}: {seen:?}"))
    }

    /// Reads on until text comes, which it does while the work runs.
    pub(crate) async fn reach_text(&mut self, patience: Duration) {
        let reached = timeout(patience, async { while self.next().await.unwrap().0 != "delta" {} });
        reached.await.unwrap();
    }
}
