//! Running the evaluation model.

use super::evaluation::{self, Judgement};
use super::routed::quote_at;
use super::service::Quotes;
use super::unpaid::UnpaidRun;
use crate::error_chain::chain;
use crate::inference::{self, Attempts, InferenceError};
use std::sync::Arc;
use tithe_pricing::{Quote, Usage};
use tracing::warn;
use uuid::Uuid;

/// How often the evaluation model is run until its answer can be read. It has done its work each time, and earned the fee once.
const RUNS_MAX: u32 = 2;

/// An evaluation that was answered. The fee pays for its last run.
pub(crate) struct Evaluated {
    /// The judgement; `None` when no answer could be read.
    pub(crate) judgement: Option<Judgement>,
    /// The last run, which the fee pays for. The others are booked as losses.
    pub(crate) run: UnpaidRun,
    /// What the last run used.
    pub(crate) usage: Usage,
}

impl Quotes {
    /// Evaluates a request with the model of `quote`, which the fee was worked out from: until the answer can be read, at most
    /// [`RUNS_MAX`] times. `occasion` makes the runs unique for what they `concern`.
    ///
    /// # Errors
    /// What the backend failed with; what the failed run used is booked as a loss.
    pub(crate) async fn evaluate(
        self: &Arc<Self>,
        quote: &Quote,
        request: &str,
        concern: Uuid,
        occasion: &str,
    ) -> Result<Evaluated, InferenceError> {
        let catalogue = &self.core.ports.catalogue;
        let patience = self.core.settings.work_timeout;
        let targets = self.evaluation_targets(&quote.model);
        let mut attempts = Attempts::new(&targets, Some(&self.backend));
        let (mut runs, mut unreadable) = (0, 0);
        loop {
            runs += 1;
            let target = attempts.target()?;
            // No more output than the fee was worked out for.
            let chat = evaluation::chat(&target.model, request, quote.tokens.max_output);
            let occasion = format!("{occasion}:{runs}");
            let run = UnpaidRun::new(self, &quote_at(quote, target), chat, concern, occasion);
            let backend = target.inference.as_ref();
            let answered =
                inference::run(backend, catalogue, run.request(), patience, run.meter(), None).await;
            let answer = match answered {
                Ok(answer) => answer,
                Err(failure) => {
                    run.failed(&failure).await;
                    attempts.failed(failure, false)?;
                    continue;
                }
            };
            attempts.answered();
            let usage = answer.usage;
            let text = answer.reply.text();
            match evaluation::read(&text) {
                Ok(judgement) => return Ok(Evaluated { judgement: Some(judgement), run, usage }),
                Err(failure) => {
                    let chars = text.chars().count();
                    warn!(error = chain(&failure), chars, runs, "the evaluation is unreadable");
                }
            }
            unreadable += 1;
            if unreadable >= RUNS_MAX {
                return Ok(Evaluated { judgement: None, run, usage });
            }
            run.unpaid(&usage).await;
        }
    }
}
