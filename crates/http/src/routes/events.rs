//! Streaming the progress of a job as server-sent events.

use super::jobs::job_id;
use super::written;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::shared_text::{Parts, SharedTexts, TextKey};
use crate::state::AppState;
use crate::wire::{DeltaBody, JobBody, JobEventBody};
use actix_web::http::Method;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use std::convert::Infallible;
use std::time::Duration;
use tithe_engine::jobs::{JobCursor, JobFollower, JobUpdate};
use tithe_engine::log::chain;
use tithe_jobs::JobId;
use tokio::sync::mpsc;
use tracing::warn;

/// The interval between comments on an idle stream. They show both ends that the connection is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a stopping server keeps its streams open to send the events that have already happened.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The delay before a client reconnects, in milliseconds.
const RECONNECT_MS: u32 = 1_000;

/// Follow a job
///
/// Streams server-sent events: a `state` event with the job's body at each state change, and `delta` events with
/// `{"text","attempt"}` while the work runs. A delta with a new attempt number restarts the text. The stream ends after
/// the job's final state. To resume, send the id of the last event as `Last-Event-ID`; the response is 204 if no events
/// remain.
#[utoipa::path(
    get, path = "/api/jobs/{jobId}/events", tag = "Jobs", operation_id = "followJob",
    params(
        ("jobId" = Uuid, Path, description = "the job's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event received; one of another stream is ignored"),
    ),
    responses(
        (
            status = 200, content_type = "text/event-stream", body = JobEventBody,
            description = "the event stream: the `data` of `event: state` is a `JobBody`, that of `event: delta` a `DeltaBody`",
        ),
        (status = 204, description = "the job has ended and no events remain"),
        (status = 400, description = "malformed job id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "invalid credentials", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "job not found", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&id)?;
    // The id of an event of another stream says nothing about this one.
    let last = request.headers().get("Last-Event-ID").and_then(|value| value.to_str().ok());
    let cursor = last.and_then(|last| cursor_of(id, last)).unwrap_or_default();
    Incoming::without_body(&request)?.identify(&state)?;
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"));
    let jobs = state.engine.jobs.clone();
    if request.method() == Method::HEAD {
        state.run(async move { jobs.view(id).await }).await?;
        return Ok(response.finish());
    }
    let slot = state.limits.stream(&request, id.0)?;
    let follower = state.run(async move { jobs.follow(id, cursor).await }).await?;
    if follower.is_over() {
        // This is the only response that stops a browser's EventSource from reconnecting.
        return Ok(HttpResponse::NoContent().insert_header((CACHE_CONTROL, "no-store")).finish());
    }
    // A task on the main runtime reads the events; the response only forwards them.
    let (sender, receiver) = mpsc::channel(2);
    let (stopping, shared) = (state.stopping.clone(), state.shared.clone());
    state.runtime.spawn(async move {
        let reconnect = Bytes::from(format!("retry: {RECONNECT_MS}\n\n"));
        let unsent = [Parts(reconnect), Parts(Bytes::new())];
        let mut forwarder = Forwarder { job: id, follower: Some(follower), unsent, shared };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sender.closed() => return,
            () = forwarder.run(&sender) => return,
        }
        // Send the events that have already happened, without waiting for new ones.
        let _cut_off = tokio::time::timeout(LAST_WORDS, forwarder.run(&sender)).await;
    });
    let stream = futures_util::stream::unfold((receiver, slot), async |(mut receiver, slot)| {
        receiver.recv().await.map(|part: Bytes| (Ok::<_, Infallible>(part), (receiver, slot)))
    });
    Ok(response.streaming(stream))
}

/// Forwards the events of a job. It can be interrupted at any moment, and goes on where it was.
struct Forwarder {
    job: JobId,
    /// Dropped as soon as it has nothing more to tell: it holds the job.
    follower: Option<JobFollower>,
    /// What is left of the event that is being sent: what comes before the data, and the data.
    unsent: [Parts; 2],
    shared: SharedTexts,
}

impl Forwarder {
    async fn run(&mut self, sender: &mpsc::Sender<Bytes>) {
        loop {
            for unsent in &mut self.unsent {
                while !unsent.is_empty() {
                    let Ok(permit) = sender.reserve().await else { return };
                    if let Some(part) = unsent.next() {
                        permit.send(part);
                    }
                }
            }
            let Some(follower) = &mut self.follower else { return };
            let text = match tokio::time::timeout(KEEP_ALIVE, follower.next()).await {
                Err(_nothing_new) => Ok([Bytes::from_static(b": still here\n\n"), Bytes::new()]),
                Ok(Ok(Some((cursor, update)))) => {
                    let over = follower.is_over();
                    if over {
                        self.follower = None;
                    }
                    event(self.job, cursor, &update, over.then_some(&self.shared))
                }
                Ok(Ok(None)) => return,
                Ok(Err(failure)) => {
                    warn!(error = chain(&failure), "event stream ended early; its client will reconnect");
                    return;
                }
            };
            match text {
                Ok(text) => self.unsent = text.map(Parts),
                Err(_logged) => return,
            }
        }
    }
}

/// The text of an event: what comes before the data, which depends on how much its reader has read, and the data. That of the last event
/// of a job may be long, and is shared by all who read it.
fn event(
    job: JobId,
    cursor: JobCursor,
    update: &JobUpdate,
    shared: Option<&SharedTexts>,
) -> Result<[Bytes; 2], Problem> {
    let internal = |_| Problem::from(tithe_engine::EngineError::Internal);
    match update {
        JobUpdate::Step { change, view } => {
            let render = || {
                let body = written(JobBody::after(view, change))?;
                // JSON contains no raw line breaks, so the data fits on one line.
                let mut data = serde_json::to_vec(&body).map_err(internal)?;
                data.extend_from_slice(b"\n\n");
                Ok(data)
            };
            let head = format!("event: state\nid: {}\ndata: ", id_of(job, cursor));
            let (revision, tier, refund) = (change.revision, view.tier.as_str(), view.refund.updated_at);
            let text_deleted_at = view.job.text_deleted_at;
            let key = TextKey { kind: "event", job, revision, tier, refund, text_deleted_at };
            let data: Result<Bytes, Problem> = match shared {
                Some(shared) => shared.get(key, render),
                None => render().map(Bytes::from),
            };
            Ok([head.into(), data?])
        }
        JobUpdate::Text(text) => {
            let data = serde_json::to_string(&DeltaBody { text: text.clone(), attempt: cursor.attempt });
            let data = data.map_err(internal)?;
            let text = format!("event: delta\nid: {}\ndata: {data}\n\n", id_of(job, cursor));
            Ok([text.into(), Bytes::new()])
        }
    }
}

/// The id of an event: how far its reader has come, and in which stream.
fn id_of(job: JobId, cursor: JobCursor) -> String {
    let JobCursor { revision, attempt, offset } = cursor;
    format!("{revision}-{attempt}-{offset}-{}", stream_name(job))
}

/// What tells the stream of one job from those of others: the random end of its id.
fn stream_name(job: JobId) -> String {
    let id = job.0.simple().to_string();
    id.get(20..).unwrap_or_default().to_owned()
}

fn cursor_of(job: JobId, id: &str) -> Option<JobCursor> {
    let mut parts = id.split('-');
    let cursor = JobCursor {
        revision: parts.next()?.parse().ok()?,
        attempt: parts.next()?.parse().ok()?,
        offset: parts.next()?.parse().ok()?,
    };
    (parts.next()? == stream_name(job) && parts.next().is_none()).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn ids_of_other_streams_and_malformed_ones_say_nothing() {
        let (job, other) = (JobId(Uuid::from_u128(7)), JobId(Uuid::from_u128(8)));
        let cursor = JobCursor { revision: 3, attempt: 1, offset: 512 };
        let id = id_of(job, cursor);
        assert_eq!(cursor_of(job, &id), Some(cursor));
        assert_eq!(cursor_of(other, &id), None);
        for wrong in ["", "3", "3-1", "3-1-512", "-3-1-5", "a-b-c", "99999999999-0-0", &format!("{id}-1")] {
            assert_eq!(cursor_of(job, wrong), None, "{wrong:?}");
        }
    }
}
