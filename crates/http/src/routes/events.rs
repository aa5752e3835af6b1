//! Streaming the progress of a job as server-sent events.

use super::jobs::job_id;
use super::written;
use crate::credentials::Incoming;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::JobBody;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tithe_engine::jobs::{JobCursor, JobFollower, JobUpdate};
use tokio::sync::mpsc;
use tracing::debug;

/// The interval between comments on an idle stream. They show both ends that the connection is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

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
        ("jobId" = String, Path, description = "the job's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event received"),
    ),
    responses(
        (status = 200, description = "the event stream", content_type = "text/event-stream", body = String),
        (status = 204, description = "the job has ended and no events remain"),
        (status = 400, description = "malformed job id or event id", body = ProblemBody, content_type = "application/problem+json"),
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
    let cursor = match request.headers().get("Last-Event-ID").map(|value| value.to_str()) {
        None => JobCursor::default(),
        Some(text) => text
            .ok()
            .and_then(cursor_of)
            .ok_or_else(|| Problem::field("Last-Event-ID", "expected the id of an event of this stream"))?,
    };
    Incoming::without_body(&request)?.authenticate_read(&state)?;
    let jobs = state.engine.jobs.clone();
    let mut follower = state.run(async move { jobs.follow(id, cursor).await }).await?;
    if follower.is_over() {
        // This is the only response that stops a browser's EventSource from reconnecting.
        return Ok(HttpResponse::NoContent().finish());
    }
    // A task on the main runtime reads the events; the response only forwards them.
    let (sender, receiver) = mpsc::channel(16);
    let stopping = state.stopping.clone();
    state.runtime.spawn(async move {
        let reconnect = format!("retry: {RECONNECT_MS}\n\n");
        if sender.send(reconnect).await.is_err() {
            return;
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            () = sender.closed() => return,
            () = forward(&mut follower, &sender) => return,
        }
        // Send the events that have already happened, without waiting for new ones.
        let _cut_off = tokio::time::timeout(LAST_WORDS, forward(&mut follower, &sender)).await;
    });
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|text: String| (Ok::<_, Infallible>(Bytes::from(text)), receiver))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

async fn forward(follower: &mut JobFollower, sender: &mpsc::Sender<String>) {
    loop {
        let text = match tokio::time::timeout(KEEP_ALIVE, follower.next()).await {
            Err(_nothing_new) => ": still here\n\n".to_owned(),
            Ok(Ok(Some((cursor, update)))) => match event(cursor, &update) {
                Ok(text) => text,
                Err(_logged) => return,
            },
            Ok(Ok(None)) => return,
            Ok(Err(failure)) => {
                debug!(%failure, "event stream ended early; its client will reconnect");
                return;
            }
        };
        if sender.send(text).await.is_err() {
            return;
        }
    }
}

fn event(cursor: JobCursor, update: &JobUpdate) -> Result<String, Problem> {
    let (name, data) = match update {
        JobUpdate::Step { change, view } => {
            let body = written(JobBody::after(view, change))?;
            ("state", serde_json::to_string(&body))
        }
        JobUpdate::Text(text) => {
            ("delta", serde_json::to_string(&json!({ "text": text, "attempt": cursor.attempt })))
        }
    };
    // JSON contains no raw line breaks, so the data fits on one line.
    let data = data.map_err(|_| Problem::from(tithe_engine::EngineError::Internal))?;
    let JobCursor { revision, attempt, offset } = cursor;
    Ok(format!("event: {name}\nid: {revision}-{attempt}-{offset}\ndata: {data}\n\n"))
}

fn cursor_of(id: &str) -> Option<JobCursor> {
    let mut parts = id.split('-');
    let cursor = JobCursor {
        revision: parts.next()?.parse().ok()?,
        attempt: parts.next()?.parse().ok()?,
        offset: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_parsed_and_malformed_ids_are_rejected() {
        let cursor = JobCursor { revision: 3, attempt: 1, offset: 512 };
        assert_eq!(cursor_of("3-1-512"), Some(cursor));
        for wrong in ["", "3", "3-1", "3-1-5-1", "-3-1-5", "a-b-c", "99999999999-0-0"] {
            assert_eq!(cursor_of(wrong), None, "{wrong:?}");
        }
    }
}
