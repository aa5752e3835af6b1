//! A simulated backend.

mod answer;
mod directive;
mod embedding;
mod example;

use crate::failure::BackendFailure;
use answer::Answer;
use async_trait::async_trait;
use directive::Directives;
use futures_util::stream::{self, StreamExt as _};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tithe_chat::{Delta, Finish, ReplyBuilder};
use tithe_engine::inference::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tokio::time::{Instant, sleep, timeout_at};

/// The timing of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimSettings {
    /// The delay before every response. Default: none.
    pub latency: Duration,
    /// The delay before every delta, unless a directive overrides it. Default: none.
    pub delta_delay: Duration,
    /// The time after which an unfinished request has [`timed out`](InferenceError::TimedOut). Default: 60 seconds.
    pub request_timeout: Duration,
}

impl Default for SimSettings {
    fn default() -> Self {
        let none = Duration::ZERO;
        Self { latency: none, delta_delay: none, request_timeout: Duration::from_mins(1) }
    }
}

/// A deterministic backend: the same response to the same request, without any network, and with real token counts
/// (`o200k_base`). It accepts every model.
///
/// # Evaluations
///
/// A chat with the line `TITHE-EVALUATION v1` in a system message is an evaluation. The response is `{"accept":true}`,
/// unless a directive changes it.
///
/// # Directives
///
/// Tests can put any number of these into the last user message. Only the simulation supports them.
///
/// | directive | to work | to evaluations |
/// | --- | --- | --- |
/// | `[sim:fail]` | [`Failed`](InferenceError::Failed) | |
/// | `[sim:refuse]` | [`Refused`](InferenceError::Refused) | |
/// | `[sim:stall]` | no answer until the time is up: [`TimedOut`](InferenceError::TimedOut) | |
/// | `[sim:slow]`, `[sim:slow=MS]` | 50, or so many, milliseconds before each delta, streamed or not | |
/// | `[sim:die]` | half the answer, then [`Interrupted`](InferenceError::Interrupted) | |
/// | `[sim:no-usage]` | no usage is reported | |
/// | `[sim:reason]` | some reasoning before the answer | |
/// | `[sim:call=NAME]` | a call of this function, if the request has it, with arguments that fit its schema | |
/// | `[sim:reject]` | | rejected |
/// | `[sim:nonsense-evaluation]` | | an answer that cannot be read |
/// | `[sim:fail-evaluation]` | | [`Failed`](InferenceError::Failed) |
///
/// `fail`, `refuse`, `stall`, `slow`, `die` and `no-usage` in a text that is to be embedded do the same to embeddings.
///
/// # Embeddings
///
/// A text becomes a vector of length 1 and of 256 dimensions, or as many as the request says, up to 4096. Texts that share words have
/// similar vectors.
#[derive(Debug, Default)]
pub struct SimInference {
    settings: SimSettings,
    failures_left: AtomicU32,
}

impl SimInference {
    /// Creates a simulation with these timings.
    #[must_use]
    pub const fn new(settings: SimSettings) -> Self {
        Self { settings, failures_left: AtomicU32::new(0) }
    }

    /// Makes the next `count` requests fail as [`Unavailable`](InferenceError::Unavailable), whatever they contain.
    pub fn fail_next(&self, count: u32) {
        self.failures_left.store(count, Ordering::Relaxed);
    }

    fn is_to_fail(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.failures_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    async fn begin(&self, request: &ChatRequest) -> Result<Script, InferenceError> {
        let deadline = Instant::now() + self.settings.request_timeout;
        let directives = Directives::of(request);
        self.obey(&directives, deadline).await?;
        let answer = Answer::to(request, &directives);
        let delay = directives.delta_delay.unwrap_or(self.settings.delta_delay);
        Ok(Script::new(&answer, &directives, delay, deadline))
    }

    /// Waits, and fails, as it was told.
    async fn obey(&self, directives: &Directives, deadline: Instant) -> Result<(), InferenceError> {
        if self.is_to_fail() {
            return Err(BackendFailure::Simulated.unavailable(None));
        }
        // Even a sleep of no time takes a tick of the timer.
        if !self.settings.latency.is_zero() {
            wait_until(deadline, sleep(self.settings.latency)).await?;
        }
        if directives.fail {
            return Err(BackendFailure::Simulated.failed());
        }
        if directives.refuse {
            return Err(BackendFailure::Simulated.refused());
        }
        if directives.stall {
            wait_until(deadline, std::future::pending::<()>()).await?;
        }
        Ok(())
    }
}

/// A piece as a model generates it: word by word, and arguments in halves.
fn pieces(delta: &Delta) -> Vec<Delta> {
    let words = |text: &str| text.split_inclusive(char::is_whitespace).map(str::to_owned).collect::<Vec<_>>();
    match delta {
        Delta::Text(text) => words(text).into_iter().map(Delta::Text).collect(),
        Delta::Reasoning(text) => words(text).into_iter().map(Delta::Reasoning).collect(),
        Delta::Arguments { index, json } => {
            let (one, other) = json.split_at(json.floor_char_boundary(json.len() / 2));
            let halves = [one, other].into_iter().filter(|half| !half.is_empty());
            halves.map(|half| Delta::Arguments { index: *index, json: half.to_owned() }).collect()
        }
        other => vec![other.clone()],
    }
}

async fn wait_until(deadline: Instant, wait: impl Future<Output = ()>) -> Result<(), InferenceError> {
    timeout_at(deadline, wait).await.map_err(|_| InferenceError::TimedOut)
}

/// The rest of a response.
struct Script {
    deltas: VecDeque<Delta>,
    /// What follows them; `None` when it has been said.
    end: Option<Result<ChatEvent, InferenceError>>,
    delay: Duration,
    deadline: Instant,
}

impl Script {
    fn new(answer: &Answer, directives: &Directives, delay: Duration, deadline: Instant) -> Self {
        let mut deltas: VecDeque<Delta> = answer.deltas.iter().flat_map(pieces).collect();
        let end = if directives.die {
            deltas.truncate(deltas.len() / 2);
            Err(BackendFailure::Simulated.interrupted())
        } else {
            let usage = (!directives.no_usage).then_some(answer.usage);
            Ok(ChatEvent::Finished { finish: answer.finish, usage })
        };
        Self { deltas, end: Some(end), delay, deadline }
    }

    async fn next(&mut self) -> Option<Result<ChatEvent, InferenceError>> {
        if !self.deltas.is_empty()
            && !self.delay.is_zero()
            && let Err(error) = wait_until(self.deadline, sleep(self.delay)).await
        {
            self.end = None;
            self.deltas.clear();
            return Some(Err(error));
        }
        match self.deltas.pop_front() {
            Some(delta) => Some(Ok(ChatEvent::Delta(delta))),
            None => self.end.take(),
        }
    }
}

#[async_trait]
impl Inference for SimInference {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        let mut script = self.begin(request).await?;
        let mut reply = ReplyBuilder::default();
        let mut end = (Finish::Other, None);
        while let Some(event) = script.next().await {
            match event? {
                ChatEvent::Delta(delta) => reply.push(&delta),
                ChatEvent::Finished { finish, usage } => end = (finish, usage),
                ChatEvent::Used(_) => {}
            }
        }
        let (finish, usage) = end;
        Ok(Completion { reply: reply.finish(finish), usage })
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        let script = self.begin(request).await?;
        Ok(stream::unfold(script, |mut script| async move {
            let event = script.next().await?;
            Some((event, script))
        })
        .boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        let deadline = Instant::now() + self.settings.request_timeout;
        let directives = Directives::of_input(&request.task.input);
        self.obey(&directives, deadline).await?;
        if let Some(delay) = directives.delta_delay {
            wait_until(deadline, sleep(delay)).await?;
        }
        if directives.die {
            return Err(BackendFailure::Simulated.interrupted());
        }
        let usage = (!directives.no_usage).then(|| embedding::usage(&request.task.input));
        Ok(Embeddings { vectors: embedding::vectors(&request.task)?, usage })
    }
}
