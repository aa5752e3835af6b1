//! A backend that counts its calls, waits at gates, and says what it was told to; otherwise the simulation answers.

use async_trait::async_trait;
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tithe_chat::{Delta, Finish, ReplyBuilder};
use tithe_engine::inference::{
    ChatEvent, ChatRequest, ChatStream, Completion, EmbeddingRequest, Embeddings, Inference, InferenceError,
};
use tithe_inference::SimInference;
use tithe_pricing::Usage;
use tokio::sync::watch;

/// Where a call can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before the evaluation is answered.
    Evaluation,
    /// Before the work begins.
    Work,
    /// After this many deltas of the work.
    Delta(usize),
    /// Before the work's end is told.
    WorkEnd,
}

/// The test's hold on one call. Dropping it lets the call go on.
pub struct Gate {
    reached: watch::Receiver<bool>,
    open: watch::Sender<bool>,
}

/// The call's end of a gate.
pub struct GateEnd {
    reached: watch::Sender<bool>,
    open: watch::Receiver<bool>,
}

impl Gate {
    pub fn pair() -> (Self, GateEnd) {
        let (told, reached) = watch::channel(false);
        let (open, opened) = watch::channel(false);
        (Self { reached, open }, GateEnd { reached: told, open: opened })
    }

    /// Waits until a call has come to the gate.
    pub async fn reached(&mut self) {
        let reached =
            tokio::time::timeout(Duration::from_mins(30), self.reached.wait_for(|reached| *reached));
        reached.await.unwrap_or_else(|_| panic!("nobody came to the gate")).unwrap();
    }

    pub fn open(self) {
        self.open.send_replace(true);
    }
}

impl GateEnd {
    pub async fn pass(mut self) {
        self.reached.send_replace(true);
        let _opened_or_dropped = self.open.wait_for(|open| *open).await;
    }
}

/// How a scripted answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// With that usage reported, or none.
    Finished(Option<Usage>),
    /// With no word of its end.
    CutOff,
    /// With an error in the middle.
    FailedAfter,
    /// The request is refused, before anything is said.
    Refused,
    /// The backend says that it is not set up.
    Misconfigured,
    /// No answer ever comes.
    Never,
    /// After what was said, nothing ever comes.
    Silent,
    /// The backend is away, and asks for that much time.
    Away(Duration),
}

/// An answer to say instead of the simulation's.
#[derive(Debug, Clone)]
pub struct Answer {
    pub deltas: Vec<String>,
    pub ends: Ends,
}

impl Answer {
    pub fn of(deltas: &[&str], ends: Ends) -> Self {
        Self { deltas: deltas.iter().map(|delta| (*delta).to_owned()).collect(), ends }
    }
}

#[derive(Default)]
pub struct Backend {
    pub sim: SimInference,
    evaluations: AtomicU32,
    works: AtomicU32,
    gates: Mutex<VecDeque<(Point, GateEnd)>>,
    /// The first message of the last evaluation.
    instructions: Mutex<String>,
    to_evaluations: Mutex<VecDeque<Answer>>,
    to_work: Mutex<VecDeque<Answer>>,
}

impl Backend {
    /// Stops the next call that comes to `point`.
    pub fn gate(&self, point: Point) -> Gate {
        let (gate, end) = Gate::pair();
        self.gates.lock().unwrap().push_back((point, end));
        gate
    }

    pub fn say_to_evaluation(&self, answer: Answer) {
        self.to_evaluations.lock().unwrap().push_back(answer);
    }

    pub fn say_to_work(&self, answer: Answer) {
        self.to_work.lock().unwrap().push_back(answer);
    }

    /// What the last evaluation was told to do.
    pub fn instructions(&self) -> String {
        self.instructions.lock().unwrap().clone()
    }

    /// How many evaluations were asked for.
    pub fn evaluations(&self) -> u32 {
        self.evaluations.load(Ordering::SeqCst)
    }

    /// How often work was asked for.
    pub fn works(&self) -> u32 {
        self.works.load(Ordering::SeqCst)
    }

    async fn pass(&self, point: Point) {
        let gate = {
            let mut gates = self.gates.lock().unwrap();
            let at = gates.iter().position(|(wanted, _)| *wanted == point);
            at.and_then(|at| gates.remove(at))
        };
        if let Some((_, gate)) = gate {
            gate.pass().await;
        }
    }
}

async fn said(answer: Answer) -> Result<Vec<Result<ChatEvent, InferenceError>>, InferenceError> {
    let mut events: Vec<_> =
        answer.deltas.into_iter().map(|delta| Ok(ChatEvent::Delta(Delta::Text(delta)))).collect();
    match answer.ends {
        Ends::Finished(usage) => events.push(Ok(ChatEvent::Finished { finish: Finish::Stop, usage })),
        Ends::CutOff | Ends::Silent => {}
        Ends::FailedAfter => events.push(Err(InferenceError::Failed(None))),
        Ends::Away(wait) => {
            return Err(InferenceError::Unavailable { retry_after: Some(wait), source: None });
        }
        Ends::Refused => return Err(InferenceError::Refused(None)),
        Ends::Misconfigured => return Err(InferenceError::Misconfigured(None)),
        Ends::Never => std::future::pending().await,
    }
    Ok(events)
}

/// The whole answer of a stream.
async fn in_one_piece(mut events: ChatStream) -> Result<Completion, InferenceError> {
    let mut reply = ReplyBuilder::default();
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Delta(delta) => reply.push(&delta),
            ChatEvent::Used(_) => {}
            ChatEvent::Finished { finish, usage } => {
                return Ok(Completion { reply: reply.finish(finish), usage });
            }
        }
    }
    Err(InferenceError::Interrupted(None))
}

/// What the shared backend is to one server: `Inference` is not `Clone`, and streams outlive the call.
pub struct Shared(pub Arc<Backend>);

#[async_trait]
impl Inference for Shared {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion, InferenceError> {
        if !request.deterministic {
            // Evaluations must not depend on luck, so this is a short work that nobody watches.
            return in_one_piece(self.stream(request).await?).await;
        }
        self.0.evaluations.fetch_add(1, Ordering::SeqCst);
        *self.0.instructions.lock().unwrap() = request.chat.messages[0].own_text().unwrap();
        self.0.pass(Point::Evaluation).await;
        let scripted = self.0.to_evaluations.lock().unwrap().pop_front();
        let Some(answer) = scripted else { return self.0.sim.complete(request).await };
        let mut reply = ReplyBuilder::default();
        for event in said(answer).await? {
            if let ChatEvent::Delta(delta) = event? {
                reply.push(&delta);
            }
        }
        Ok(Completion { reply: reply.finish(Finish::Stop), usage: None })
    }

    async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, InferenceError> {
        self.0.works.fetch_add(1, Ordering::SeqCst);
        self.0.pass(Point::Work).await;
        let scripted = self.0.to_work.lock().unwrap().pop_front();
        let events = match scripted {
            Some(answer) if answer.ends == Ends::Silent => {
                let events = futures_util::stream::iter(said(answer).await?);
                events.chain(futures_util::stream::pending()).boxed()
            }
            Some(answer) => futures_util::stream::iter(said(answer).await?).boxed(),
            None => self.0.sim.stream(request).await?,
        };
        let backend = Arc::clone(&self.0);
        Ok(futures_util::stream::unfold((events, 0), move |(mut events, said)| {
            let backend = Arc::clone(&backend);
            async move {
                backend.pass(Point::Delta(said)).await;
                let event = events.next().await?;
                if matches!(event, Ok(ChatEvent::Finished { .. })) {
                    backend.pass(Point::WorkEnd).await;
                }
                Some((event, (events, said + 1)))
            }
        })
        .boxed())
    }

    async fn embed(&self, request: &EmbeddingRequest) -> Result<Embeddings, InferenceError> {
        self.0.works.fetch_add(1, Ordering::SeqCst);
        self.0.pass(Point::Work).await;
        self.0.sim.embed(request).await
    }
}
