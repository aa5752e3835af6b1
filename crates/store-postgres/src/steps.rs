//! Telling other servers of jobs' steps and texts (`NOTIFY`), and hearing of theirs (`LISTEN`).
//!
//! A step is told in the transaction that takes it, so nobody hears of one that is not there. What is told is a wake-up, not
//! a record: whoever was not connected is told that it has missed something, and looks. Text is told by itself, and may be
//! lost.
//!
//! A message begins with the line that names the server which tells it:
//!
//! ```text
//! channel tithe_steps     <origin>⏎<job> <revision> <state> <micros>⏎…
//! channel tithe_wanted    <origin>⏎<job> <from>
//! channel tithe_text      <origin>⏎<job> <attempt> <offset>⏎<text>
//! ```

use crate::connect::{Connector, PostgresStore, Purpose};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_engine::store::{Elsewhere, TextPart};
use tithe_jobs::{JobChange, JobId, StateName};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Notification};
use tracing::{debug, info, warn};

/// The channels.
const STEPS: &str = "tithe_steps";
const WANTED: &str = "tithe_wanted";
const TEXT: &str = "tithe_text";

/// How many steps one message tells of: one fits into 80 bytes, and a message holds 8000.
const STEPS_PER_MESSAGE: usize = 80;

/// How long after a lost connection the next is tried, and how often followers are told to look meanwhile.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Names this server to others, so that it does not listen to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(Arc<str>);

impl Origin {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The messages that tell of these steps: the origin, then a line for each.
pub(crate) fn told(origin: &Origin, steps: &[JobChange]) -> Vec<String> {
    let message = |steps: &[JobChange]| {
        let mut text = origin.as_str().to_owned();
        for JobChange { job, revision, state, at } in steps {
            let _infallible = write!(text, "\n{job} {revision} {} {}", state.as_str(), at.unix_micros());
        }
        text
    };
    steps.chunks(STEPS_PER_MESSAGE).map(message).collect()
}

/// The channel and the message that tell this, if it is something that is told by itself.
pub(crate) fn message(origin: &Origin, news: &Elsewhere) -> Option<(&'static str, String)> {
    let origin = origin.as_str();
    match news {
        Elsewhere::TextWanted { job, from } => Some((WANTED, format!("{origin}\n{job} {from}"))),
        Elsewhere::Text(TextPart { job, attempt, offset, text }) => {
            Some((TEXT, format!("{origin}\n{job} {attempt} {offset}\n{text}")))
        }
        Elsewhere::Steps(_) | Elsewhere::Missed => None,
    }
}

/// What is heard of other servers.
fn heard(origin: &Origin, channel: &str, message: &str) -> Heard {
    let Some((from, rest)) = message.split_once('\n') else { return Heard::Nonsense };
    if from == origin.as_str() {
        return Heard::Ourselves;
    }
    let news = match channel {
        STEPS => rest.lines().map(step).collect::<Option<Vec<_>>>().map(Elsewhere::Steps),
        WANTED => wanted(rest),
        TEXT => text(rest),
        _ => None,
    };
    news.map_or(Heard::Nonsense, Heard::News)
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// Something new.
    News(Elsewhere),
    /// What we have told ourselves.
    Ourselves,
    /// Something that cannot be read: a newer server may say more.
    Nonsense,
}

fn step(line: &str) -> Option<JobChange> {
    let mut words = line.split(' ');
    Some(JobChange {
        job: JobId(words.next()?.parse().ok()?),
        revision: words.next()?.parse().ok()?,
        state: StateName::from_name(words.next()?)?,
        at: Timestamp::from_unix_micros(words.next()?.parse().ok()?).ok()?,
    })
}

fn wanted(line: &str) -> Option<Elsewhere> {
    let (job, from) = line.split_once(' ')?;
    Some(Elsewhere::TextWanted { job: JobId(job.parse().ok()?), from: from.parse().ok()? })
}

fn text(rest: &str) -> Option<Elsewhere> {
    let (head, text) = rest.split_once('\n')?;
    let mut words = head.split(' ');
    Some(Elsewhere::Text(TextPart {
        job: JobId(words.next()?.parse().ok()?),
        attempt: words.next()?.parse().ok()?,
        offset: words.next()?.parse().ok()?,
        text: text.to_owned(),
    }))
}

impl PostgresStore {
    /// What other servers do, for as long as the stream is kept.
    pub(crate) fn listen(&self) -> BoxStream<'static, Elsewhere> {
        let (sender, receiver) = mpsc::channel(256);
        let (connector, origin) = (Arc::clone(&self.connector), self.origin.clone());
        tokio::spawn(async move {
            let mut complained = false;
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    lost = listen_once(&connector, &origin, &sender) => match lost {
                        Err(cause) if !complained => {
                            complained = true;
                            warn!(%cause, "other servers cannot be heard; jobs are looked at every second meanwhile");
                        }
                        Err(cause) => debug!(%cause, "other servers still cannot be heard"),
                        Ok(()) => {
                            complained = false;
                            info!("the connection that listens to other servers was lost");
                        }
                    }
                }
                // Whatever was told while nobody listened.
                if sender.send(Elsewhere::Missed).await.is_err() {
                    return;
                }
                tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
            }
        });
        futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|news| (news, receiver))
        })
        .boxed()
    }
}

/// Listens until the connection is lost.
async fn listen_once(
    connector: &Connector,
    origin: &Origin,
    sender: &mpsc::Sender<Elsewhere>,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = connector.client().await?;
    let (notices, mut heard_notices) = mpsc::unbounded_channel::<Notification>();
    let driving = async move {
        let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(notice)) => {
                    if notices.send(notice).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(cause) => {
                    debug!(%cause, "the connection that listens is lost");
                    return;
                }
            }
        }
    };
    let set_up =
        format!("{} LISTEN {STEPS}; LISTEN {WANTED}; LISTEN {TEXT};", connector.session(Purpose::Long));
    let hearing = async {
        client.batch_execute(&set_up).await?;
        // What was told before we listened.
        let _gone = sender.send(Elsewhere::Missed).await;
        while let Some(notice) = heard_notices.recv().await {
            let news = match heard(origin, notice.channel(), notice.payload()) {
                Heard::News(news) => news,
                Heard::Ourselves => continue,
                Heard::Nonsense => Elsewhere::Missed,
            };
            if sender.send(news).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        () = driving => Ok(()),
        heard = hearing => heard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn what_one_server_tells_the_others_hear_and_it_does_not_hear_itself() {
        let (here, there) = (Origin::new("0a4ff0a0-3f65-4b39-8d2c-8fbd5df0d1d0"), Origin::new("there"));
        let steps: Vec<JobChange> = (0..200).map(taken).collect();
        let messages = told(&here, &steps);
        assert!(messages.iter().all(|message| message.len() < 8_000), "PostgreSQL takes 8000 bytes");
        let told = messages.iter().flat_map(|message| match heard(&there, STEPS, message) {
            Heard::News(Elsewhere::Steps(steps)) => steps,
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), steps);
        assert!(messages.iter().all(|message| heard(&here, STEPS, message) == Heard::Ourselves));
    }

    #[test]
    fn text_comes_through_as_it_is_and_fits() {
        let (here, there) = (Origin::new("0a4ff0a0-3f65-4b39-8d2c-8fbd5df0d1d0"), Origin::new("there"));
        let job = JobId(Uuid::from_u128(u128::MAX));
        let whole = "\n ☃ ".repeat(TextPart::MAX_BYTES / 6);
        for text in ["", "\n", "a b\nc ☃", &whole] {
            let text = text.to_owned();
            assert!(text.len() <= TextPart::MAX_BYTES);
            let part = Elsewhere::Text(TextPart { job, attempt: u32::MAX, offset: 1 << 40, text });
            let (channel, message) = message(&here, &part).unwrap();
            assert!(message.len() < 8_000, "PostgreSQL takes 8000 bytes");
            assert_eq!(heard(&there, channel, &message), Heard::News(part));
        }
        let wanted = Elsewhere::TextWanted { job, from: 17 };
        let (channel, message) = message(&here, &wanted).unwrap();
        assert_eq!(heard(&there, channel, &message), Heard::News(wanted));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_something_else() {
        let id = Uuid::nil();
        for (channel, message) in [
            (STEPS, String::new()),
            (STEPS, "x\nnonsense".to_owned()),
            (STEPS, format!("x\n{id} 1 dancing 5")),
            (WANTED, format!("x\n{id} -1")),
            (TEXT, format!("x\n{id} 1 2")),
            ("tithe_other", format!("x\n{id} 1")),
        ] {
            assert_eq!(heard(&Origin::new("here"), channel, &message), Heard::Nonsense, "{message:?}");
        }
    }
}
