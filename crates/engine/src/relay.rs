//! The text of work that runs on one server, for who follows it on another.
//!
//! A follower whose job runs elsewhere says so to all servers, again and again while it follows; the one that runs the job
//! tells the text for as long as it is asked. It is told in parts, which may be lost: a follower keeps what follows on what it
//! has, and asks for the rest. The result in the store is what counts.

use crate::Engine;
use crate::feed::Wanted;
use crate::store::{Elsewhere, TextPart};
use std::sync::Arc;
use std::time::Duration;
use tithe_jobs::JobId;
use tokio::time::Instant;
use tracing::debug;

/// How often a follower asks for the text of a job that runs elsewhere.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(2);

/// How long after it was last asked a server goes on telling.
const TELL_FOR: Duration = Duration::from_secs(6);

/// How long a part gathers, so that a fast writer does not cost a message for each word.
const GATHER: Duration = Duration::from_millis(50);

impl Engine {
    /// Asks the server that runs the job for its text.
    pub(crate) async fn text_ask(&self, job: JobId, from: usize) {
        if let Err(failure) = self.ports.store.tell(&Elsewhere::TextWanted { job, from }).await {
            debug!(%failure, %job, "the text of a job that runs elsewhere could not be asked for");
        }
    }

    /// Begins to tell the text of a job that runs here, or goes on.
    pub(crate) fn text_wanted(self: &Arc<Self>, job: JobId, from: usize) {
        let wanted = Wanted { until: Instant::now() + TELL_FOR, from: Some(from) };
        if self.feed.want_text(job, wanted) {
            let engine = Arc::clone(self);
            tokio::spawn(async move { engine.text_tell(job).await });
        }
    }

    /// Tells the text until nobody wants it, or it has ended.
    async fn text_tell(&self, job: JobId) {
        let mut follow = self.feed.follow(job);
        let (mut attempt, mut offset) = (0, 0);
        loop {
            let (now_attempt, mut text) = follow.text_from(attempt, offset);
            if now_attempt != attempt {
                (attempt, offset) = (now_attempt, 0);
            }
            let Some(wanted) = follow.take_wanted(Instant::now()) else {
                // What came last is told before silence.
                self.text_tell_parts(job, attempt, offset, &text).await;
                return;
            };
            if let Some(from) = wanted.from.filter(|from| *from < offset) {
                offset = from;
                (_, text) = follow.text_from(attempt, offset);
            }
            if text.is_empty() {
                let _told_or_time = tokio::time::timeout_at(wanted.until, follow.changed()).await;
            } else {
                offset += self.text_tell_parts(job, attempt, offset, &text).await;
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Tells a text in parts; says how much of it.
    async fn text_tell_parts(&self, job: JobId, attempt: u32, offset: usize, text: &str) -> usize {
        let mut told = 0;
        while told < text.len() {
            let end = text.floor_char_boundary(told.saturating_add(TextPart::MAX_BYTES));
            let part = text.get(told..end).unwrap_or_default().to_owned();
            let part = TextPart { job, attempt, offset: offset + told, text: part };
            if let Err(failure) = self.ports.store.tell(&Elsewhere::Text(part)).await {
                debug!(%failure, %job, "text could not be told to other servers");
            }
            told = end;
        }
        told
    }
}
