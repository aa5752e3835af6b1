//! Wakes the followers of jobs, and keeps the text of running work.
//!
//! The feed wakes; it does not record. Steps are in the store, and a follower that misses a wake-up finds them there. Only the
//! text is kept here: that of work on this server until the work ends, and that of work on another server for as long as
//! somebody follows it here.

use crate::store::TextPart;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_jobs::{JobChange, JobId, StateName};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The most text that a follower is given at once, in bytes: what is on its way to a slow reader is a copy.
const TEXT_PART_MAX: usize = 64 * 1024;

/// The state of a job that runs or is followed on this server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// The latest revision that this server has seen.
    pub(crate) revision: u32,
    /// The attempt at the work that the text belongs to; 0 when none is known here.
    pub(crate) attempt: u32,
    /// Whether that attempt runs on this server.
    pub(crate) here: bool,
    /// The text so far.
    pub(crate) text: String,
    /// Whether the attempt has ended: nothing is added to the text any more.
    pub(crate) ended: bool,
    /// How often notifications may have been lost.
    pub(crate) resyncs: u32,
    /// When the text was last requested from other servers.
    pub(crate) requested_at: Option<Instant>,
    /// What followers on other servers want of the text, if there are any.
    pub(crate) wanted: Option<Wanted>,
}

/// What followers on other servers want of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// When they stop wanting it, unless they request it again.
    pub(crate) until: Instant,
    /// The position, in bytes, up to which all of them have the text.
    pub(crate) from: Option<usize>,
}

/// Wakes followers and workers.
#[derive(Default)]
pub struct JobFeed {
    jobs: Mutex<HashMap<JobId, watch::Sender<Live>>>,
    runnable: Notify,
}

impl JobFeed {
    /// A feed without followers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the followers of these jobs, and a worker if there is something to do.
    pub(crate) fn publish(&self, changes: &[JobChange]) {
        let mut jobs = self.lock();
        for change in changes {
            if let Some(live) = jobs.get(&change.job) {
                live.send_modify(|live| live.revision = live.revision.max(change.revision));
                if change.state.is_terminal() && live.receiver_count() == 0 {
                    jobs.remove(&change.job);
                }
            }
        }
        drop(jobs);
        if changes.iter().any(|change| matches!(change.state, StateName::Evaluating | StateName::Executing)) {
            self.runnable.notify_one();
        }
    }

    /// Wakes all followers: notifications may have been lost.
    pub(crate) fn resync(&self) {
        for live in self.lock().values() {
            live.send_modify(|live| live.resyncs = live.resyncs.wrapping_add(1));
        }
        self.runnable.notify_one();
    }

    /// Waits until a job may have become runnable on this server.
    pub(crate) async fn runnable(&self) {
        self.runnable.notified().await;
    }

    /// Wakes a worker.
    pub(crate) fn wake_worker(&self) {
        self.runnable.notify_one();
    }

    /// Begins the text of an attempt at a job's work.
    pub(crate) fn begin_text(&self, job: JobId, attempt: u32) {
        let mut jobs = self.lock();
        let live = jobs.entry(job).or_insert_with(|| watch::Sender::new(Live::default()));
        live.send_modify(|live| {
            live.attempt = attempt;
            live.here = true;
            live.ended = false;
            live.text.clear();
        });
    }

    /// Adds text that another server has published, if somebody follows the job here. A part that leaves a gap is dropped: the
    /// text will be requested again.
    pub(crate) fn receive_text(&self, part: &TextPart) {
        let jobs = self.lock();
        let Some(live) = jobs.get(&part.job) else { return };
        live.send_if_modified(|live| {
            if part.attempt < live.attempt || (live.here && part.attempt == live.attempt) {
                return false;
            }
            if part.attempt > live.attempt {
                (live.attempt, live.here, live.ended) = (part.attempt, false, false);
                live.text.clear();
            }
            let known = live.text.len().checked_sub(part.offset);
            let more = known.and_then(|known| part.text.get(known..)).unwrap_or_default();
            live.text.push_str(more);
            !more.is_empty()
        });
    }

    /// Records that a follower on another server wants a text that is generated here. Returns whether it is the first one, so
    /// that the caller must begin to publish.
    pub(crate) fn request_text(&self, job: JobId, wanted: Wanted) -> bool {
        let jobs = self.lock();
        let Some(live) = jobs.get(&job).filter(|live| live.borrow().here && !live.borrow().ended) else {
            return false;
        };
        let mut first = false;
        live.send_modify(|live| {
            first = live.wanted.is_none();
            let from = live.wanted.and_then(|earlier| earlier.from).into_iter().chain(wanted.from).min();
            live.wanted = Some(Wanted { from, ..wanted });
        });
        first
    }

    /// Adds to the text of an attempt. Text of an earlier attempt on this server is dropped.
    pub(crate) fn add_text(&self, job: JobId, attempt: u32, delta: &str) {
        if let Some(live) = self.lock().get(&job).filter(|live| live.borrow().attempt == attempt) {
            live.send_modify(|live| live.text.push_str(delta));
        }
    }

    /// Ends the text of an attempt. It is dropped as soon as nobody reads it.
    pub(crate) fn end_text(&self, job: JobId, attempt: u32) {
        let mut jobs = self.lock();
        if let Some(live) = jobs.get(&job).filter(|live| live.borrow().attempt == attempt) {
            if live.receiver_count() == 0 {
                jobs.remove(&job);
            } else {
                live.send_modify(|live| live.ended = true);
            }
        }
    }

    /// Follows a job.
    pub(crate) fn follow(self: &Arc<Self>, job: JobId) -> Follow {
        let mut jobs = self.lock();
        let live = jobs.entry(job).or_insert_with(|| watch::Sender::new(Live::default()));
        Follow { job, receiver: Some(live.subscribe()), feed: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Live>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn watched(&self) -> usize {
        self.lock().len()
    }
}

/// A subscription to a job. Dropping it ends the subscription.
pub(crate) struct Follow {
    job: JobId,
    receiver: Option<watch::Receiver<Live>>,
    feed: Arc<JobFeed>,
}

impl Follow {
    /// Waits for a change. Also returns when the feed has dropped the job.
    pub(crate) async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            let _dropped = receiver.changed().await;
        }
    }

    /// The latest revision that this server has seen.
    pub(crate) fn revision(&self) -> u32 {
        self.receiver.as_ref().map_or(0, |receiver| receiver.borrow().revision)
    }

    /// How often notifications may have been lost.
    pub(crate) fn resyncs(&self) -> u32 {
        self.receiver.as_ref().map_or(0, |receiver| receiver.borrow().resyncs)
    }

    /// How much of the text is known, if the work does not run on this server.
    pub(crate) fn known_from_peer(&self) -> Option<usize> {
        let live = self.receiver.as_ref()?.borrow();
        (!live.here || live.ended).then_some(live.text.len())
    }

    /// Whether to request the text from other servers now; if so, it counts as requested. All followers on this server together
    /// request it at most every `every`.
    pub(crate) fn requests_now(&self, now: Instant, every: Duration) -> bool {
        let jobs = self.feed.lock();
        let Some(live) = jobs.get(&self.job) else { return false };
        let mut due = false;
        live.send_if_modified(|live| {
            due = live.requested_at.is_none_or(|at| now.saturating_duration_since(at) >= every);
            if due {
                live.requested_at = Some(now);
            }
            false
        });
        due
    }

    /// What other servers want of the text. Their position is returned once. `None` when nobody wants the text any longer; the
    /// next request is then a first one.
    pub(crate) fn take_wanted(&self, now: Instant) -> Option<Wanted> {
        let jobs = self.feed.lock();
        let live = jobs.get(&self.job)?;
        let wanted = live.borrow().wanted?;
        let over = wanted.until <= now || live.borrow().ended;
        live.send_if_modified(|live| {
            live.wanted = (!over).then_some(Wanted { from: None, ..wanted });
            false
        });
        (!over).then_some(wanted)
    }

    /// The attempt, and its text from `offset` on, at most [`TEXT_PART_MAX`] bytes; empty when there is nothing new.
    pub(crate) fn text_from(&mut self, attempt: u32, offset: usize) -> (u32, String) {
        let Some(receiver) = &mut self.receiver else { return (attempt, String::new()) };
        let live = receiver.borrow_and_update();
        let from = if live.attempt == attempt { offset } else { 0 };
        let to = live.text.floor_char_boundary(from.saturating_add(TEXT_PART_MAX));
        (live.attempt, live.text.get(from..to).unwrap_or_default().to_owned())
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut jobs = self.feed.lock();
        self.receiver = None;
        let running = |live: &Live| live.here && !live.ended;
        let idle = |live: &watch::Sender<Live>| live.receiver_count() == 0 && !running(&live.borrow());
        if jobs.get(&self.job).is_some_and(idle) {
            jobs.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn nothing_is_kept_of_jobs_that_nobody_runs_or_follows() {
        let feed = Arc::new(JobFeed::new());
        let job = JobId(Uuid::nil());
        drop(feed.follow(job));
        assert_eq!(feed.watched(), 0);
        feed.begin_text(job, 1);
        let follower = feed.follow(job);
        feed.end_text(job, 1);
        assert_eq!(feed.watched(), 1);
        drop(follower);
        assert_eq!(feed.watched(), 0);
    }

    #[test]
    fn a_late_follower_reads_the_text_from_its_beginning_and_a_new_attempt_starts_over() {
        let feed = Arc::new(JobFeed::new());
        let job = JobId(Uuid::nil());
        feed.begin_text(job, 1);
        feed.add_text(job, 1, "good");
        let mut follower = feed.follow(job);
        assert_eq!(follower.text_from(0, 0), (1, "good".to_owned()));
        feed.add_text(job, 1, "bye");
        assert_eq!(follower.text_from(1, 4), (1, "bye".to_owned()));
        feed.begin_text(job, 2);
        feed.add_text(job, 1, "!");
        feed.end_text(job, 1);
        feed.add_text(job, 2, "again");
        assert_eq!(follower.text_from(1, 7), (2, "again".to_owned()));
    }
}
