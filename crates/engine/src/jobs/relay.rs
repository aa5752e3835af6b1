//! The text of work that runs on one server, for followers on another.
//!
//! A follower whose job runs on another server requests the text from all servers, again and again while it follows; the
//! server that runs the job publishes the text for as long as it is requested. It is published in parts, which may be lost: a
//! follower keeps the parts that continue what it has, and requests the rest. The result in the store is what counts.

use super::feed::Wanted;
use super::service::Jobs;
use crate::error_chain::chain;
use crate::store::{PeerEvent, TextPart};
use std::sync::Arc;
use std::time::Duration;
use tithe_jobs::JobId;
use tokio::time::Instant;
use tracing::warn;

/// How often a follower requests the text of a job that runs on another server.
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_secs(2);

/// How long a server publishes a text after the last request for it.
const PUBLISH_FOR: Duration = Duration::from_secs(6);

/// How long text is gathered before it is published, so that a fast writer does not cost a message for each word.
const GATHER: Duration = Duration::from_millis(50);

impl Jobs {
    /// Takes in what has happened on another server.
    pub(crate) fn peer_event(self: &Arc<Self>, event: PeerEvent) {
        match event {
            PeerEvent::Steps(steps) => {
                self.admission.observe(&steps);
                self.feed.publish(&steps);
            }
            PeerEvent::HandedBack => self.feed.wake_worker(),
            PeerEvent::Resync => self.feed.resync(),
            PeerEvent::TextWanted { job, from } => self.text_requested(job, from),
            PeerEvent::Text(part) => self.feed.receive_text(&part),
        }
    }

    /// Requests the text from the server that runs the job.
    pub(super) async fn text_request(&self, job: JobId, from: usize) {
        if let Err(failure) = self.core.ports.store.publish(&PeerEvent::TextWanted { job, from }).await {
            warn!(error = chain(&failure), job_id = %job, "the text could not be requested from other servers");
        }
    }

    /// Publishes the text of a job that runs here, or continues to.
    fn text_requested(self: &Arc<Self>, job: JobId, from: usize) {
        let wanted = Wanted { until: Instant::now() + PUBLISH_FOR, from: Some(from) };
        if self.feed.request_text(job, wanted) {
            let jobs = Arc::clone(self);
            tokio::spawn(async move { jobs.text_publish(job).await });
        }
    }

    /// Publishes the text until nobody wants it, or it has ended.
    async fn text_publish(&self, job: JobId) {
        let mut follow = self.feed.follow(job);
        let (mut attempt, mut offset) = (0, 0);
        loop {
            let (now_attempt, mut text) = follow.text_from(attempt, offset);
            if now_attempt != attempt {
                (attempt, offset) = (now_attempt, 0);
            }
            let Some(wanted) = follow.take_wanted(Instant::now()) else {
                while !text.is_empty() {
                    self.text_publish_parts(job, attempt, offset, &text).await;
                    offset += text.len();
                    (_, text) = follow.text_from(attempt, offset);
                }
                return;
            };
            if let Some(from) = wanted.from.filter(|from| *from < offset) {
                offset = from;
                (_, text) = follow.text_from(attempt, offset);
            }
            if text.is_empty() {
                let _changed_or_time = tokio::time::timeout_at(wanted.until, follow.changed()).await;
            } else {
                self.text_publish_parts(job, attempt, offset, &text).await;
                offset += text.len();
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Publishes a text in parts.
    async fn text_publish_parts(&self, job: JobId, attempt: u32, offset: usize, text: &str) {
        let mut published = 0;
        while published < text.len() {
            let end = text.floor_char_boundary(published.saturating_add(TextPart::MAX_BYTES));
            let part = text.get(published..end).unwrap_or_default().to_owned();
            let part = TextPart { job, attempt, offset: offset + published, text: part };
            if let Err(failure) = self.core.ports.store.publish(&PeerEvent::Text(part)).await {
                warn!(error = chain(&failure), job_id = %job, "text could not be published to other servers");
            }
            published = end;
        }
    }
}
