//! Following a job as server-sent events.

use super::jobs::job_id;
use super::written;
use crate::identity;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::wire::JobBody;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tithe_engine::{JobCursor, JobFollower, JobUpdate};
use tokio::sync::mpsc;
use tracing::debug;

/// How often a line is sent when nothing happens, so that neither end takes the other for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long the streams of a stopping server go on, for what is still to be told.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a client waits before it connects again, in milliseconds.
const RECONNECT_MS: u32 = 1_000;

/// Follow a job
///
/// Server-sent events: `state` with the job's body at each change, `delta` with `{"text","attempt"}` while the work runs.
/// A delta of another attempt begins the text anew. The stream ends after the job's last state. Send the last event's id
/// as `Last-Event-ID` to go on from there; when nothing more will come, that is answered with 204.
#[utoipa::path(
    get, path = "/api/jobs/{jobId}/events", tag = "Jobs", operation_id = "followJob",
    params(
        ("jobId" = String, Path, description = "the job's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event seen"),
    ),
    responses(
        (status = 200, description = "the events", content_type = "text/event-stream", body = String),
        (status = 204, description = "the job has ended, and its last event was seen"),
        (status = 400, description = "this is no job id, or no event id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "an identity is presented that is not valid here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "there is no such job", body = ProblemBody, content_type = "application/problem+json"),
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
        Some(text) => text.ok().and_then(cursor_of).ok_or_else(|| {
            Problem::field("Last-Event-ID", "this is not the id of an event of this stream")
        })?,
    };
    identity::of_reading(&state, &request)?;
    let engine = state.engine.clone();
    let mut follower = state.run(async move { engine.job_follow(id, cursor).await }).await?;
    if follower.is_over() {
        // The one answer that keeps a browser's EventSource from connecting again.
        return Ok(HttpResponse::NoContent().finish());
    }
    // The stream is read by a task of the main runtime; here is only its far end.
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
        // What has happened by now is still told; what would have to be waited for is not.
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
                debug!(%failure, "an event stream is cut off; its client will connect again");
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
    // JSON has no raw line breaks, so the data is one line.
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
    fn event_ids_read_back_and_nothing_else_does() {
        let cursor = JobCursor { revision: 3, attempt: 1, offset: 512 };
        assert_eq!(cursor_of("3-1-512"), Some(cursor));
        for wrong in ["", "3", "3-1", "3-1-5-1", "-3-1-5", "a-b-c", "99999999999-0-0"] {
            assert_eq!(cursor_of(wrong), None, "{wrong:?}");
        }
    }
}
