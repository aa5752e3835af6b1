//! The messages by which servers notify each other (`NOTIFY`) of jobs' steps and texts.
//!
//! Steps are notified in the transaction that takes them, so a notified step always exists. Notifications wake; they do
//! not record: a server that was not connected reads the store instead. Text is notified by itself, and may be lost.
//!
//! A message begins with the line that names the server which sends it:
//!
//! ```text
//! channel tithe_steps     <server>⏎<job> <revision> <state> <micros>⏎…
//!                         <server>⏎handed_back
//! channel tithe_wanted    <server>⏎<job> <from>
//! channel tithe_text      <server>⏎<job> <attempt> <offset>⏎<text>
//! ```
//!
//! Work that is handed back is notified on the channel of steps, so that a server of an older version, which cannot read it, takes
//! it for a lost step and looks for work as well.

use crate::server_id::ServerId;
use std::fmt::Write as _;
use tithe_clock::Timestamp;
use tithe_engine::store::{PeerEvent, TextPart};
use tithe_jobs::{JobChange, JobId};

/// The channels.
pub(crate) const STEPS: &str = "tithe_steps";
pub(crate) const WANTED: &str = "tithe_wanted";
pub(crate) const TEXT: &str = "tithe_text";

/// What is notified instead of a step when work is handed back.
const HANDED_BACK: &str = "handed_back";

/// The most steps in one message: a step takes at most 80 bytes, and a message holds 8000.
const STEPS_PER_MESSAGE: usize = 80;

/// The messages that notify of these steps: the server, then a line for each step.
pub(crate) fn encode_steps(server: &ServerId, steps: &[JobChange]) -> Vec<String> {
    let message = |steps: &[JobChange]| {
        let mut text = server.as_str().to_owned();
        for JobChange { job, revision, state, at } in steps {
            let _infallible = write!(text, "\n{job} {revision} {} {}", state.as_str(), at.unix_micros());
        }
        text
    };
    steps.chunks(STEPS_PER_MESSAGE).map(message).collect()
}

/// The channel and the message for an event, if it is notified by itself.
pub(crate) fn encode(server: &ServerId, event: &PeerEvent) -> Option<(&'static str, String)> {
    let server = server.as_str();
    match event {
        PeerEvent::TextWanted { job, from } => Some((WANTED, format!("{server}\n{job} {from}"))),
        PeerEvent::Text(TextPart { job, attempt, offset, text }) => {
            Some((TEXT, format!("{server}\n{job} {attempt} {offset}\n{text}")))
        }
        PeerEvent::HandedBack => Some((STEPS, format!("{server}\n{HANDED_BACK}"))),
        PeerEvent::Steps(_) | PeerEvent::Resync => None,
    }
}

/// Decodes a message.
pub(crate) fn decode(server: &ServerId, channel: &str, message: &str) -> Decoded {
    let Some((from, rest)) = message.split_once('\n') else { return Decoded::Unreadable };
    if from == server.as_str() {
        return Decoded::Own;
    }
    let event = match channel {
        STEPS if rest == HANDED_BACK => Some(PeerEvent::HandedBack),
        STEPS => rest.lines().map(step).collect::<Option<Vec<_>>>().map(PeerEvent::Steps),
        WANTED => wanted(rest),
        TEXT => text(rest),
        _ => None,
    };
    event.map_or(Decoded::Unreadable, Decoded::Event)
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// An event on another server.
    Event(PeerEvent),
    /// A message from this server.
    Own,
    /// A message that cannot be read: a newer server may send more.
    Unreadable,
}

fn step(line: &str) -> Option<JobChange> {
    let mut words = line.split(' ');
    Some(JobChange {
        job: JobId(words.next()?.parse().ok()?),
        revision: words.next()?.parse().ok()?,
        state: words.next()?.parse().ok()?,
        at: Timestamp::from_unix_micros(words.next()?.parse().ok()?).ok()?,
    })
}

fn wanted(line: &str) -> Option<PeerEvent> {
    let (job, from) = line.split_once(' ')?;
    Some(PeerEvent::TextWanted { job: JobId(job.parse().ok()?), from: from.parse().ok()? })
}

fn text(rest: &str) -> Option<PeerEvent> {
    let (head, text) = rest.split_once('\n')?;
    let mut words = head.split(' ');
    Some(PeerEvent::Text(TextPart {
        job: JobId(words.next()?.parse().ok()?),
        attempt: words.next()?.parse().ok()?,
        offset: words.next()?.parse().ok()?,
        text: text.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tithe_jobs::StateName;
    use uuid::Uuid;

    fn taken(n: u128) -> JobChange {
        let at = Timestamp::from_unix_micros(1_790_000_000_000_000).unwrap();
        JobChange {
            job: JobId(Uuid::from_u128(n)),
            revision: u32::MAX,
            state: StateName::AwaitingWorkPayment,
            at,
        }
    }

    #[test]
    fn other_servers_decode_what_one_encodes_and_it_ignores_its_own() {
        let (here, there) = (ServerId::new("0a4ff0a0-3f65-4b39-8d2c-8fbd5df0d1d0"), ServerId::new("there"));
        let steps: Vec<JobChange> = (0..200).map(taken).collect();
        let messages = encode_steps(&here, &steps);
        assert!(messages.iter().all(|message| message.len() < 8_000), "PostgreSQL takes 8000 bytes");
        let received = messages.iter().flat_map(|message| match decode(&there, STEPS, message) {
            Decoded::Event(PeerEvent::Steps(steps)) => steps,
            other => panic!("{other:?}"),
        });
        assert_eq!(received.collect::<Vec<_>>(), steps);
        assert!(messages.iter().all(|message| decode(&here, STEPS, message) == Decoded::Own));
    }

    #[test]
    fn text_is_unchanged_and_fits_into_a_message() {
        let (here, there) = (ServerId::new("0a4ff0a0-3f65-4b39-8d2c-8fbd5df0d1d0"), ServerId::new("there"));
        let job = JobId(Uuid::from_u128(u128::MAX));
        let whole = "\n ☃ ".repeat(TextPart::MAX_BYTES / 6);
        for text in ["", "\n", "a b\nc ☃", &whole] {
            let text = text.to_owned();
            assert!(text.len() <= TextPart::MAX_BYTES);
            let part = PeerEvent::Text(TextPart { job, attempt: u32::MAX, offset: 1 << 40, text });
            let (channel, message) = encode(&here, &part).unwrap();
            assert!(message.len() < 8_000, "PostgreSQL takes 8000 bytes");
            assert_eq!(decode(&there, channel, &message), Decoded::Event(part));
        }
        let wanted = PeerEvent::TextWanted { job, from: 17 };
        let (channel, message) = encode(&here, &wanted).unwrap();
        assert_eq!(decode(&there, channel, &message), Decoded::Event(wanted));
        let (channel, message) = encode(&here, &PeerEvent::HandedBack).unwrap();
        assert_eq!(decode(&there, channel, &message), Decoded::Event(PeerEvent::HandedBack));
        assert_eq!(decode(&here, channel, &message), Decoded::Own);
    }

    #[test]
    fn unreadable_messages_are_recognised() {
        let id = Uuid::nil();
        for (channel, message) in [
            (STEPS, String::new()),
            (STEPS, "x\nnonsense".to_owned()),
            (STEPS, format!("x\n{id} 1 dancing 5")),
            (WANTED, format!("x\n{id} -1")),
            (TEXT, format!("x\n{id} 1 2")),
            ("tithe_other", format!("x\n{id} 1")),
        ] {
            assert_eq!(decode(&ServerId::new("here"), channel, &message), Decoded::Unreadable, "{message:?}");
        }
    }
}
