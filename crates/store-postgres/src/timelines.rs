//! Which timeline of the database this server has seen, so that it never goes back to an older one.
//!
//! A promoted standby begins a new timeline. The old primary, when it comes back, accepts writes on the old one: what is written there
//! is lost, and nothing in its own tables can say so. So each server remembers the newest timeline that it has seen, in memory for all
//! its connections, and in a file for its next start (ADR 34).

use crate::position::Position;
use crate::timeline_file::{Entry, Looked, TimelineFile, TimelineFileError};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tithe_clock::{Clock, SystemClock};
use tokio::sync::watch;
use tracing::{error, info};

/// The newest timeline of the database that was seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Timelines(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    file: Option<TimelineFile>,
    newest: watch::Sender<Option<Entry>>,
    /// Servers are judged one at a time.
    judging: Mutex<Judging>,
}

#[derive(Debug, Default)]
struct Judging {
    /// The last refusal that was logged, until something is accepted there.
    logged: Vec<(String, Position)>,
    /// Whether a server was accepted: the start is over.
    has_started: bool,
    /// Whether the newest timeline is missing in the file, which could not be written.
    is_behind: bool,
    /// Whether it was logged that the file cannot be used.
    is_failing: bool,
}

/// What was known before a server was judged, and what is to be kept of it.
type Judged = (Option<Entry>, Result<Option<Entry>, Refused>);

/// The reason why a server that accepts writes is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The server is on an older timeline than one that was seen: it is an old primary.
    #[error(
        "old primary at {at}: expected timeline {expected} or later of system {system}, seen at {seen_at} on {seen_on}, got timeline \
         {got}; what was sold since is not in it, and what it sold now would be lost: stop it and make it a standby of the new primary, \
         or run `tithe database accept` if you go back to it on purpose"
    )]
    OldTimeline {
        /// Host and port of the refused server.
        at: String,
        /// The newest timeline that was seen.
        expected: u32,
        /// The system identifier of both.
        system: i64,
        /// Host and port where the newest timeline was seen.
        seen_at: String,
        /// When it was seen first.
        seen_on: String,
        /// The timeline of the refused server.
        got: u32,
    },
    /// The server belongs to another cluster than the one that was seen.
    #[error(
        "another database cluster at {at}: expected system {expected}, seen at {seen_at} on {seen_on}, got system {got}; run `tithe \
         database accept` if the database was moved or restored to it"
    )]
    OtherSystem {
        /// Host and port of the refused server.
        at: String,
        /// The system identifier that was seen.
        expected: i64,
        /// Host and port where it was seen.
        seen_at: String,
        /// When it was seen first.
        seen_on: String,
        /// The system identifier of the refused server.
        got: i64,
    },
}

/// The reason why a server cannot be judged, or is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    File(#[from] TimelineFileError),
}

impl Timelines {
    /// Keeps what was seen in a file, too, which all servers of a machine may share. The file is created when there is something to keep.
    #[must_use]
    pub fn kept_in(path: PathBuf) -> Self {
        Self(Arc::new(Inner { file: Some(TimelineFile::new(path)), ..Inner::default() }))
    }

    /// Resolves when the newest timeline is no longer the given one.
    pub(crate) async fn overtaken(&self, position: Position) {
        let mut newest = self.0.newest.subscribe();
        let other = |newest: &Option<Entry>| newest.as_ref().is_some_and(|entry| entry.position != position);
        // The sender lives as long as `self`.
        let _never_closed = newest.wait_for(other).await;
    }

    /// Whether a server that accepts writes may be used. A newer timeline is kept before this returns; once the start is over, a file
    /// that cannot be used is logged, and what is in memory counts.
    ///
    /// # Errors
    /// [`CheckError`]: the server is refused, or the file cannot be read or written at the start.
    pub(crate) fn check(&self, position: Position, at: &str) -> Result<(), CheckError> {
        let mut judging = self.0.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, judged) = self.judge(&mut judging, position, at)?;
        let newest = judged.as_ref().ok().and_then(Option::as_ref);
        if let (Some(newest), Some(known)) = (newest, &known)
            && newest.position.timeline > known.position.timeline
        {
            info!(
                database = at,
                timeline = newest.position.timeline,
                "the database has a new timeline: a standby was promoted, or the database was recovered to a point in time; older ones \
                 are refused from now on"
            );
        }
        // Another server of this machine may have seen more, or the operator has accepted something.
        if let Some(newest) = newest.or(known.as_ref()) {
            self.set(newest);
        }
        match &judged {
            Ok(_) => {
                judging.has_started = true;
                judging.logged.retain(|(refused, _)| refused != at);
            }
            Err(refused) if !judging.logged.contains(&(at.to_owned(), position)) => {
                judging.logged.push((at.to_owned(), position));
                error!(database = at, "database refused: {refused}");
            }
            Err(_) => {}
        }
        Ok(judged.map(drop)?)
    }

    /// Judges by what is known, in the file or in memory, and keeps what is new.
    fn judge(&self, judging: &mut Judging, position: Position, at: &str) -> Result<Judged, CheckError> {
        let memory = self.0.newest.borrow().clone();
        let Some(file) = &self.0.file else {
            let judged = judge(position, at, memory.as_ref());
            return Ok((memory, judged));
        };
        let is_behind = judging.is_behind;
        // A file that is gone, or that could not be written, knows less.
        let known = |kept: Option<&Entry>| match (kept, &memory) {
            (Some(kept), Some(memory)) if is_behind && memory.position.is_newer_than(kept.position) => {
                Some(memory.clone())
            }
            (kept, memory) => kept.or(memory.as_ref()).cloned(),
        };
        let looked = file.locked(|kept| {
            let known = known(kept);
            let judged = judge(position, at, known.as_ref())?;
            let is_kept = kept.map(|kept| kept.position) == known.as_ref().map(|known| known.position);
            Ok(judged.or_else(|| known.filter(|_| !is_kept)))
        });
        match looked {
            Ok(Looked { before, decided }) => {
                let is_kept = decided.is_ok();
                judging.is_behind &= !is_kept;
                judging.is_failing &= !is_kept;
                Ok((known(before.as_ref()), decided))
            }
            Err(cause) if judging.has_started => {
                let judged = judge(position, at, memory.as_ref());
                judging.is_behind |= matches!(judged, Ok(Some(_)));
                if !judging.is_failing {
                    judging.is_failing = true;
                    let why =
                        std::error::Error::source(&cause).map(|why| format!(": {why}")).unwrap_or_default();
                    error!(
                        error = format!("{cause}{why}"),
                        "the database's timeline cannot be kept: this server goes on with what it remembers, and its next start may \
                         not recognise an old primary"
                    );
                }
                Ok((memory, judged))
            }
            Err(cause) => Err(cause.into()),
        }
    }

    fn set(&self, entry: &Entry) {
        self.0.newest.send_if_modified(|newest| {
            let differs = newest.as_ref() != Some(entry);
            if differs {
                *newest = Some(entry.clone());
            }
            differs
        });
    }

    /// Takes a server for the newest, whatever was seen before.
    pub(crate) fn accept(&self, position: Position, at: &str) -> Result<(), TimelineFileError> {
        let mut judging = self.0.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entry(position, at);
        if let Some(file) = &self.0.file {
            let is_new = |kept: Option<&Entry>| kept.is_none_or(|kept| kept.position != position);
            let looked = file.locked(|kept| Ok::<_, Infallible>(is_new(kept).then(|| entry.clone())))?;
            let _kept = looked.decided.unwrap_or_else(|never| match never {});
        }
        judging.is_behind = false;
        self.set(&entry);
        Ok(())
    }
}

fn entry(position: Position, at: &str) -> Entry {
    Entry { position, at: at.to_owned(), on: SystemClock.now().to_string() }
}

/// Judges a server by what is known; returns what is to be kept.
fn judge(position: Position, at: &str, known: Option<&Entry>) -> Result<Option<Entry>, Refused> {
    let Some(known) = known else { return Ok(Some(entry(position, at))) };
    let (expected, seen_at, seen_on) = (known.position, known.at.clone(), known.on.clone());
    if position.system != expected.system {
        let (expected, got) = (expected.system, position.system);
        return Err(Refused::OtherSystem { at: at.to_owned(), expected, seen_at, seen_on, got });
    }
    if position.timeline < expected.timeline {
        let (expected, got, system) = (expected.timeline, position.timeline, position.system);
        return Err(Refused::OldTimeline { at: at.to_owned(), expected, system, seen_at, seen_on, got });
    }
    Ok(position.is_newer_than(expected).then(|| entry(position, at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const fn on(system: i64, timeline: u32) -> Position {
        Position { system, timeline }
    }

    fn refusal(answer: Result<(), CheckError>) -> Refused {
        match answer {
            Err(CheckError::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_older_timeline_and_another_cluster_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for timelines in [Timelines::default(), Timelines::kept_in(folder.path().join("kept"))] {
            timelines.check(on(-7, 1), "a:1").unwrap();
            timelines.check(on(-7, 1), "b:1").unwrap();
            timelines.check(on(-7, 3), "b:1").unwrap();
            let refused = refusal(timelines.check(on(-7, 2), "a:1"));
            assert!(matches!(refused, Refused::OldTimeline { expected: 3, got: 2, .. }), "{refused}");
            assert!(refused.to_string().contains("old primary at a:1"), "{refused}");
            assert!(refused.to_string().contains("seen at b:1"), "{refused}");
            let refused = refusal(timelines.check(on(8, 9), "a:1"));
            assert!(matches!(refused, Refused::OtherSystem { expected: -7, got: 8, .. }), "{refused}");
            timelines.check(on(-7, 3), "b:1").unwrap();
            timelines.accept(on(8, 1), "a:1").unwrap();
            timelines.check(on(8, 1), "a:1").unwrap();
            refusal(timelines.check(on(-7, 3), "b:1"));
        }
    }

    #[test]
    fn the_next_start_and_other_servers_of_the_machine_know_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not yet/kept");
        let (one, two) = (Timelines::kept_in(path.clone()), Timelines::kept_in(path.clone()));
        one.check(on(7, 1), "a:1").unwrap();
        two.check(on(7, 1), "a:1").unwrap();
        one.check(on(7, 2), "b:1").unwrap();
        refusal(two.check(on(7, 1), "a:1"));
        refusal(Timelines::kept_in(path.clone()).check(on(7, 1), "a:1"));
        // The operator's command is a process of its own.
        Timelines::kept_in(path).accept(on(7, 1), "a:1").unwrap();
        one.check(on(7, 1), "a:1").unwrap();
    }

    #[test]
    fn a_connection_knows_when_it_was_overtaken() {
        let timelines = Timelines::default();
        assert_eq!(timelines.overtaken(on(7, 1)).now_or_never(), None, "nothing was seen");
        timelines.check(on(7, 1), "a:1").unwrap();
        assert_eq!(timelines.overtaken(on(7, 1)).now_or_never(), None);
        timelines.check(on(7, 2), "b:1").unwrap();
        assert_eq!(timelines.overtaken(on(7, 1)).now_or_never(), Some(()));
        assert_eq!(timelines.overtaken(on(7, 2)).now_or_never(), None);
    }

    /// A data directory in which nothing can be created, even by root, stands for one that is full or read-only.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_running_server_goes_on_without_its_file_and_one_that_starts_does_not() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (good, data) = (folder.path().join("good"), folder.path().join("data"));
        let switch_to = |target: &std::path::Path| {
            let _none_yet = std::fs::remove_file(&data);
            symlink(target, &data).unwrap();
        };
        let bad = std::path::Path::new("/proc/self");
        std::fs::create_dir(&good).unwrap();
        let kept = || Timelines::kept_in(data.join("kept"));

        switch_to(bad);
        let starting = kept();
        for _ in 0..2 {
            let refused = starting.check(on(7, 1), "a:1").unwrap_err();
            assert!(matches!(refused, CheckError::File(_)), "{refused}");
        }
        switch_to(&good);
        let running = kept();
        running.check(on(7, 1), "a:1").unwrap();
        switch_to(bad);
        running.check(on(7, 1), "a:1").unwrap();
        running.check(on(7, 2), "b:1").unwrap();
        refusal(running.check(on(7, 1), "a:1"));

        // The file comes back without the line that could not be written.
        switch_to(&good);
        refusal(running.check(on(7, 1), "a:1"));
        kept().check(on(7, 1), "a:1").unwrap();
        running.check(on(7, 2), "b:1").unwrap();
        refusal(kept().check(on(7, 1), "a:1"));
    }

    #[test]
    fn a_file_that_was_deleted_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let running = Timelines::kept_in(path.clone());
        running.check(on(7, 2), "b:1").unwrap();
        std::fs::remove_file(&path).unwrap();
        refusal(running.check(on(7, 1), "a:1"));
        running.check(on(7, 2), "b:1").unwrap();
        refusal(Timelines::kept_in(path).check(on(7, 1), "a:1"));
    }
}
