//! Tells who follows a job that it has moved, and what text has come so far.
//!
//! This is a wake-up, not a record: steps are in the store, and a follower that misses a wake-up finds them there. Only
//! text lives here: of work that runs on this server until it ends, of work that runs elsewhere for as long as somebody
//! follows it here.

use crate::store::TextPart;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_jobs::{JobChange, JobId, StateName};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// What is known of a job that runs or is followed here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// The latest revision that this server has seen.
    pub(crate) revision: u32,
    /// Which attempt at the work the text is of; 0 when none is known of here.
    pub(crate) attempt: u32,
    /// Whether that attempt runs on this server.
    pub(crate) here: bool,
    /// The text so far.
    pub(crate) text: String,
    /// Whether the attempt has ended: nothing is added to the text any more.
    pub(crate) ended: bool,
    /// How often something may have been missed.
    pub(crate) missed: u32,
    /// When other servers were last asked for the text.
    pub(crate) asked: Option<Instant>,
    /// Followers on other servers, if there are any.
    pub(crate) wanted: Option<Wanted>,
}

/// What followers on other servers want of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Until when, unless they ask again.
    pub(crate) until: Instant,
    /// The byte from which one of them has nothing yet.
    pub(crate) from: Option<usize>,
}

/// Wakes followers and workers.
#[derive(Default)]
pub struct JobFeed {
    jobs: Mutex<HashMap<JobId, watch::Sender<Live>>>,
    runnable: Notify,
}

impl JobFeed {
    /// A feed that nobody follows yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells of steps that have been committed.
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

    /// Tells everybody to look: something may have happened that nobody told.
    pub(crate) fn missed(&self) {
        for live in self.lock().values() {
            live.send_modify(|live| live.missed = live.missed.wrapping_add(1));
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

    /// Keeps text that another server tells of, for who follows it here. What does not follow on what is known is not kept:
    /// it is asked for again.
    pub(crate) fn hear_text(&self, part: &TextPart) {
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

    /// Notes that somebody elsewhere wants a text that is written here; says whether they are the first, whom somebody must
    /// begin to tell.
    pub(crate) fn want_text(&self, job: JobId, wanted: Wanted) -> bool {
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

    /// Adds to the text of an attempt. What an attempt still says that was taken over on this same server is not heard.
    pub(crate) fn add_text(&self, job: JobId, attempt: u32, delta: &str) {
        if let Some(live) = self.lock().get(&job).filter(|live| live.borrow().attempt == attempt) {
            live.send_modify(|live| live.text.push_str(delta));
        }
    }

    /// Forgets the text of an attempt that has ended, as soon as nobody reads it.
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

/// A follower's end; dropping it lets go.
pub(crate) struct Follow {
    job: JobId,
    receiver: Option<watch::Receiver<Live>>,
    feed: Arc<JobFeed>,
}

impl Follow {
    /// Waits for something new. Also returns when the feed has let the job go.
    pub(crate) async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            let _let_go = receiver.changed().await;
        }
    }

    /// The latest revision that this server has seen.
    pub(crate) fn revision(&self) -> u32 {
        self.receiver.as_ref().map_or(0, |receiver| receiver.borrow().revision)
    }

    /// How often something may have been missed.
    pub(crate) fn missed(&self) -> u32 {
        self.receiver.as_ref().map_or(0, |receiver| receiver.borrow().missed)
    }

    /// Whether the text is of work that runs elsewhere or not at all, and how much of it is known.
    pub(crate) fn known_from_elsewhere(&self) -> Option<usize> {
        let live = self.receiver.as_ref()?.borrow();
        (!live.here || live.ended).then_some(live.text.len())
    }

    /// Whether to ask other servers for the text now, which somebody here does at most every `every`; if so, it counts as
    /// asked.
    pub(crate) fn asks_now(&self, now: Instant, every: Duration) -> bool {
        let jobs = self.feed.lock();
        let Some(live) = jobs.get(&self.job) else { return false };
        let mut asks = false;
        live.send_if_modified(|live| {
            asks = live.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= every);
            if asks {
                live.asked = Some(now);
            }
            false
        });
        asks
    }

    /// What others want of the text, once: the byte from which they have nothing is given out and forgotten. `None` when
    /// nobody wants it any more, which is then settled.
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

    /// The attempt, and its text from `offset` on; empty when there is no more.
    pub(crate) fn text_from(&mut self, attempt: u32, offset: usize) -> (u32, String) {
        let Some(receiver) = &mut self.receiver else { return (attempt, String::new()) };
        let live = receiver.borrow_and_update();
        let from = if live.attempt == attempt { offset } else { 0 };
        (live.attempt, live.text.get(from..).unwrap_or_default().to_owned())
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
