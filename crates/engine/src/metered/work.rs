//! Evaluating a request and doing its work.

use super::failure::Failure;
use super::prompt::Prompt;
use super::quotes::MeteredQuotes;
use crate::inference::{self, Answer, Attempts, BackendHealth, ChatRequest, Cover, InferenceError, Target};
use crate::mounts::Called;
use crate::quotes::evaluation::{Judgement, UNREADABLE};
use crate::quotes::{Evaluated, Quotes, UnpaidRun, quote_at};
use crate::settings::WhenClientLeaves;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tithe_chat::{Delta, Finish, Part, Reply, Vectors};
use tithe_money::{Msats, UsdMicros};
use tithe_pricing::{Catalogue, FinishReason, Priced, Usage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The longest answer that a backend is asked for in one piece when the client wants it so, in tokens: any model writes that within the time
/// that work may take. Of a longer one, what was written when the time is over is an answer, too.
const ONE_PIECE_OUTPUT_MAX: u64 = 256;

/// Receives an answer as it is generated.
pub type Listener = Arc<dyn Fn(&Delta) + Send + Sync>;

/// Who waits for an answer.
#[derive(Clone)]
pub struct Client {
    /// Receives the answer as it is generated; `None` if only the whole answer is wanted.
    pub listener: Option<Listener>,
    /// Cancelled when the request has begun: somebody pays for it.
    pub begun: CancellationToken,
    /// Cancelled when the client of a stream has gone: what was delivered is charged.
    pub gone: CancellationToken,
    /// How many bytes of what the model wrote ([`Delta::written`]) were sent to the client of a stream.
    pub sent: Arc<AtomicUsize>,
    /// The name of the backend that answers, once it has begun to, if the operator has named several.
    pub backend: Arc<OnceLock<Arc<str>>>,
}

/// A request that is to be done.
pub(crate) struct MeteredRequest<'a> {
    /// The id of the request, which what it costs is booked by.
    pub(crate) id: Uuid,
    /// What is asked of the model.
    pub(crate) prompt: &'a Prompt,
    /// The prices.
    pub(crate) quotes: &'a MeteredQuotes,
    /// Where the work is done: at the first of these that can do it.
    pub(crate) targets: &'a [Target],
    /// What is known of their health, if it is watched.
    pub(crate) health: Option<&'a BackendHealth>,
    /// How long the work may take.
    pub(crate) patience: Duration,
    /// Who waits for the answer.
    pub(crate) client: &'a Client,
    /// Whether an answer with nothing for the customer is a failure although the model has generated something, such as reasoning. It is not where
    /// a failure costs the customer nothing at all: a request could make the model work for nothing, again and again.
    pub(crate) needs_text: bool,
    /// How much of the answer is paid for while it is generated; `None` if all of it is, within the quote.
    pub(crate) cover: Option<Arc<Cover>>,
    /// What becomes of the work when the client of a stream leaves.
    pub(crate) when_client_leaves: WhenClientLeaves,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The answer, or what a client who has left got of it.
    pub reply: Arc<Reply>,
    /// The text that was delivered.
    pub text: Arc<str>,
    /// The embeddings, if that was asked for.
    pub vectors: Option<Arc<Vectors>>,
    /// The answer of the service behind a mounted route, if that was called.
    pub called: Option<Arc<Called>>,
    /// The tokens of the work, without the evaluation.
    pub usage: Usage,
    /// Whether the tokens were counted here, because the backend reported none.
    pub estimated: bool,
    /// Why the text ended.
    pub finish: FinishReason,
    /// The price of the work, in US dollars, without the evaluation.
    pub usd: UsdMicros,
    /// The name of the backend that did the work, if the operator has named several.
    pub backend: Option<Arc<str>>,
}

/// What became of a request that the models have answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// The work is done.
    Completed(Delivered),
    /// The client had gone before the backend was asked for the work.
    NotAsked,
    /// The evaluation rejected the request, for this reason.
    Rejected(String),
    /// The evaluation model was run, but its answer cannot be read: nobody is to blame.
    Unreadable(String),
}

/// What the models have done for a request. Its runs are booked as losses unless somebody pays for them.
pub(crate) struct Worked {
    pub(crate) done: Done,
    /// What the evaluation and the work cost.
    pub(crate) cost: Msats,
    runs: Vec<(UnpaidRun, Usage)>,
    /// What the customer did not get, and nobody pays for.
    lost: Msats,
    is_abandoned: bool,
}

/// A target that has not answered.
struct Unanswered {
    failure: Failure,
    /// Whether something of an answer was generated.
    is_begun: bool,
}

impl From<InferenceError> for Unanswered {
    fn from(failure: InferenceError) -> Self {
        Self { failure: Failure::Backend(failure), is_begun: false }
    }
}

impl MeteredRequest<'_> {
    /// Evaluates the request and does its work. What a failed run has used is booked as a loss.
    pub(crate) async fn run(&self, quotes: &Arc<Quotes>) -> Result<Worked, Failure> {
        if let Some(task) = self.prompt.as_embeddings() {
            return self.embed(quotes, task).await;
        }
        if let Some((call, price)) = self.prompt.as_call().zip(self.quotes.call) {
            return self.call(quotes, call, price).await;
        }
        let mut runs = Vec::new();
        let mut cost = Msats::ZERO;
        if let (Some(quote), Some(text)) = (&self.quotes.evaluation, self.prompt.as_text()) {
            let evaluated = quotes.evaluate(quote, text, self.id, "evaluation").await;
            let Evaluated { judgement, run, usage } = evaluated.map_err(Failure::Backend)?;
            cost = run.quote().price_or_max(&usage).msats;
            runs.push((run, usage));
            let done = match judgement {
                Some(Judgement::Accept) => None,
                Some(Judgement::Reject(reason)) => Some(Done::Rejected(reason)),
                // The model has done its work: the evaluation is charged.
                None => Some(Done::Unreadable(UNREADABLE.to_owned())),
            };
            if let Some(done) = done {
                return Ok(Worked { done, cost, runs, lost: Msats::ZERO, is_abandoned: false });
            }
        }
        if self.client.gone.is_cancelled() {
            // Nothing but the evaluation was done.
            let done = Done::NotAsked;
            return Ok(Worked { done, cost, runs, lost: Msats::ZERO, is_abandoned: true });
        }
        let (delivered, run, lost) = match self.answer(quotes).await {
            Ok(answered) => answered,
            Err(failure) => {
                book(runs).await;
                return Err(failure);
            }
        };
        let cost = add(cost, run.quote().price_or_max(&delivered.usage).msats);
        runs.push((run, delivered.usage));
        let is_abandoned = self.client.gone.is_cancelled();
        Ok(Worked { done: Done::Completed(delivered), cost, runs, lost, is_abandoned })
    }

    /// Whether an answer has nothing for the customer: neither text nor the call of a function. Whoever has sent a chat gets the reasoning
    /// too.
    fn is_empty(&self, reply: &Reply) -> bool {
        let is_chat = self.prompt.as_text().is_none();
        !reply.parts.iter().any(|part| match part {
            Part::Text(text) => !text.trim().is_empty(),
            Part::ToolCall(_) => true,
            Part::Reasoning(_) => is_chat,
            Part::Image(_) | Part::ToolResult(_) => false,
        })
    }

    /// Whether nobody needs to see an answer while it is generated: the client waits for all of it, all of it is paid for, and it is short.
    fn is_in_one_piece(&self, request: &ChatRequest) -> bool {
        self.client.listener.is_none()
            && request.max_output_tokens <= ONE_PIECE_OUTPUT_MAX
            && self.cover.as_ref().is_none_or(|cover| cover.is_whole())
    }

    /// Runs the model until it has answered, or the client has left.
    async fn answered(
        &self,
        target: &Target,
        catalogue: &Catalogue,
        run: &UnpaidRun,
        patience: Duration,
        listener: inference::Listener<'_>,
    ) -> Ran {
        let (request, meter) = (run.request(), run.meter());
        let listener = (!self.is_in_one_piece(request)).then_some(listener);
        let answering =
            inference::run(target.inference.as_ref(), catalogue, request, patience, meter, listener);
        let mut answering = pin!(answering);
        tokio::select! {
            answered = &mut answering => return Ran::Answered(answered),
            () = self.client.gone.cancelled() => {}
        }
        let sent = self.client.sent.load(Ordering::Acquire);
        let (reply, text, mut usage, mut generated) = meter.delivered(catalogue, request, sent);
        if self.when_client_leaves == WhenClientLeaves::Drain {
            if let Some(cover) = &self.cover {
                cover.lift();
            }
            generated = match answering.await {
                Ok(answer) if !meter.is_withholding() => answer.usage,
                // The client has left before it was known that there is nothing to pay for.
                Err(failure) if meter.lost(catalogue, request, Some(&failure)).is_none() => {
                    return Ran::Answered(Err(failure));
                }
                Ok(_) | Err(_) => meter.lost(catalogue, request, None).unwrap_or(generated),
            };
            // By now the backend may have said how much of the prompt it has read from its cache.
            usage = meter.with_reported_input(usage);
        }
        Ran::Left(Box::new(Left { reply, text, usage, generated }))
    }

    /// Does the work, at the first target that can. Returns also what was generated and nobody got, because the client has gone or nobody pays for it.
    async fn answer(&self, quotes: &Arc<Quotes>) -> Result<(Delivered, UnpaidRun, Msats), Failure> {
        let until = Instant::now() + self.patience;
        let mut attempts = Attempts::new(self.targets, self.health);
        loop {
            match self.answer_of(&attempts, quotes, until).await {
                Err(Unanswered { failure: Failure::Backend(failure), is_begun }) => {
                    // Nobody waits for another one.
                    let is_over = self.client.gone.is_cancelled() || Instant::now() >= until;
                    attempts.failed(failure, is_begun || is_over).map_err(Failure::Backend)?;
                }
                Err(Unanswered { failure, .. }) => return Err(failure),
                Ok(answered) => return Ok(answered),
            }
        }
    }

    /// Does the work at the target whose turn it is.
    async fn answer_of(
        &self,
        attempts: &Attempts<'_>,
        quotes: &Arc<Quotes>,
        until: Instant,
    ) -> Result<(Delivered, UnpaidRun, Msats), Unanswered> {
        let target = attempts.target()?;
        let quote = &quote_at(&self.quotes.work, target);
        let chat = ChatRequest {
            model: target.model.as_ref().to_owned(),
            chat: Arc::clone(self.prompt.as_chat()),
            max_output_tokens: self.cover.as_ref().map_or(quote.tokens.max_output, |cover| cover.most()),
            deterministic: false,
        };
        let run = UnpaidRun::new(quotes, quote, chat, self.id, attempts.occasion("work"));
        if let Some(cover) = &self.cover {
            run.meter().cover_with(Arc::clone(cover));
        }
        let listen = |delta: &Delta| {
            if self.client.backend.get().is_none()
                && let Some(backend) = target.told()
            {
                self.client.backend.get_or_init(|| backend);
            }
            if let Some(listener) = &self.client.listener {
                listener(delta);
            }
        };
        let catalogue = quotes.catalogue();
        let patience = until.saturating_duration_since(Instant::now());
        let answered = match self.answered(target, catalogue, &run, patience, &listen).await {
            Ran::Answered(answered) => answered,
            Ran::Left(left) => {
                let Left { reply, text, usage, generated } = *left;
                let price = quote.price_or_max(&usage);
                let lost = quote.price_or_max(&generated).msats.saturating_sub(price.msats);
                let delivered = Delivered {
                    reply: Arc::new(reply),
                    text: text.into(),
                    vectors: None,
                    called: None,
                    usage,
                    estimated: true,
                    finish: FinishReason::Interrupted,
                    usd: price.usd,
                    backend: target.told(),
                };
                return Ok((delivered, run, lost));
            }
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(failure) => {
                let is_begun = run.meter().has_begun();
                run.failed(&failure).await;
                return Err(Unanswered { failure: Failure::Backend(failure), is_begun });
            }
        };
        attempts.answered();
        let usage = answer.usage;
        let is_withholding = run.meter().is_withholding();
        let generated = is_withholding.then(|| run.meter().lost(catalogue, run.request(), None));
        let generated = generated.flatten().unwrap_or(usage);
        let is_nothing = usage.output_tokens == 0 && !is_withholding;
        if self.is_empty(&answer.reply) && (self.needs_text || is_nothing) {
            run.unpaid(&generated).await;
            return Err(Unanswered { failure: Failure::Empty, is_begun: true });
        }
        let (estimated, finish) = (answer.estimated, inference::finish_reason(answer.reply.finish));
        let (text, reply) = (answer.reply.text().into(), Arc::new(answer.reply));
        let price = quote.price_or_max(&usage);
        let lost = quote.price_or_max(&generated).msats.saturating_sub(price.msats);
        let backend = target.told();
        let (usd, vectors, called) = (price.usd, None, None);
        Ok((Delivered { reply, text, vectors, called, usage, estimated, finish, usd, backend }, run, lost))
    }
}

/// How a run ended.
enum Ran {
    /// The backend has answered, or failed.
    Answered(Result<Answer, InferenceError>),
    /// The client has left.
    Left(Box<Left>),
}

/// What a client got who has left.
struct Left {
    /// The beginning of the answer.
    reply: Reply,
    /// Its text.
    text: String,
    /// What that is, by our count.
    usage: Usage,
    /// What the backend has used.
    generated: Usage,
}

impl Worked {
    /// Work that one run has done, for a client who waits for it.
    pub(super) fn completed(delivered: Delivered, cost: Msats, run: UnpaidRun) -> Self {
        let runs = vec![(run, delivered.usage)];
        Self { done: Done::Completed(delivered), cost, runs, lost: Msats::ZERO, is_abandoned: false }
    }

    /// Whether the backend was not even asked, and no evaluation has cost anything.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.done, Done::NotAsked) && self.cost.is_zero()
    }

    /// Whether the answer ends at a length: that of the request, or what was written when the time was over.
    pub(crate) fn ends_at_length(&self) -> bool {
        matches!(&self.done, Done::Completed(delivered) if delivered.reply.finish == Finish::Length)
    }

    /// Whether the client has left before the end of the answer.
    pub(crate) const fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// Somebody pays for what was done, except for what was lost.
    pub(crate) async fn paid(self, quotes: &Quotes, request: Uuid) {
        for (run, _) in self.runs {
            run.paid();
        }
        if !self.lost.is_zero() {
            quotes.book_lost(self.lost, request).await;
        }
    }

    /// Nobody pays for what was done.
    pub(crate) async fn unpaid(self, quotes: &Quotes, request: Uuid) {
        book(self.runs).await;
        if !self.lost.is_zero() {
            quotes.book_lost(self.lost, request).await;
        }
    }
}

impl Delivered {
    /// Whether work was finished. A refusal of the service behind a mounted route is an answer, and no work.
    pub(crate) fn is_work(&self) -> bool {
        self.called.as_ref().is_none_or(|called| !called.is_refusal())
    }

    /// What a client gets who had gone before the backend was asked.
    pub(crate) fn nothing() -> Self {
        let reply = Arc::new(Reply { parts: Vec::new(), finish: Finish::Other });
        let (text, finish) = ("".into(), FinishReason::Interrupted);
        let (usage, usd) = (Usage::ZERO, UsdMicros::ZERO);
        Self { reply, text, vectors: None, called: None, usage, estimated: false, finish, usd, backend: None }
    }
}

/// Books runs that nobody pays for.
async fn book(runs: Vec<(UnpaidRun, Usage)>) {
    for (run, usage) in runs {
        run.unpaid(&usage).await;
    }
}

fn add(a: Msats, b: Msats) -> Msats {
    a.checked_add(b).unwrap_or(Msats::MAX)
}
