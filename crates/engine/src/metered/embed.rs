//! Embedding the texts of a metered request.

use super::failure::Failure;
use super::work::{Delivered, MeteredRequest, Worked};
use crate::inference::{self, Attempts, Embedded, EmbeddingRequest, InferenceError};
use crate::quotes::{Quotes, UnpaidRun, quote_at};
use std::sync::Arc;
use tithe_chat::{EmbeddingTask, Finish, Reply};
use tithe_pricing::{FinishReason, Priced, Usage};
use tokio::time::Instant;

impl MeteredRequest<'_> {
    /// Does the work, at the first target that can. What a backend may have done that fails is booked as a loss.
    pub(super) async fn embed(
        &self,
        quotes: &Arc<Quotes>,
        task: &Arc<EmbeddingTask>,
    ) -> Result<Worked, Failure> {
        let until = Instant::now() + self.patience;
        let mut attempts = Attempts::new(self.targets, self.health);
        loop {
            match self.embed_at(&attempts, quotes, task, until).await {
                Ok(worked) => return Ok(worked),
                Err(failure) => {
                    let is_over = self.client.gone.is_cancelled() || Instant::now() >= until;
                    attempts.failed(failure, is_over).map_err(Failure::Backend)?;
                }
            }
        }
    }

    /// Does the work at the target whose turn it is.
    async fn embed_at(
        &self,
        attempts: &Attempts<'_>,
        quotes: &Arc<Quotes>,
        task: &Arc<EmbeddingTask>,
        until: Instant,
    ) -> Result<Worked, InferenceError> {
        let target = attempts.target()?;
        let quote = &quote_at(&self.quotes.work, target);
        let counted = Usage { input_tokens: quote.tokens.input, ..Usage::ZERO };
        let request = EmbeddingRequest { model: target.model.as_ref().to_owned(), task: Arc::clone(task) };
        let run = UnpaidRun::of_embeddings(quotes, quote, counted, self.id, attempts.occasion("work"));
        let (backend, patience) =
            (target.inference.as_ref(), until.saturating_duration_since(Instant::now()));
        let embedding = inference::embed(backend, quotes.catalogue(), &request, counted, patience).await;
        let Embedded { vectors, usage, estimated } = match embedding {
            Ok(embedded) => embedded,
            Err(failure) => {
                run.failed(&failure).await;
                return Err(failure);
            }
        };
        attempts.answered();
        let price = quote.price_or_max(&usage);
        let delivered = Delivered {
            reply: Arc::new(Reply { parts: Vec::new(), finish: Finish::Stop }),
            text: "".into(),
            vectors: Some(Arc::new(vectors)),
            usage,
            estimated,
            finish: FinishReason::Stop,
            usd: price.usd,
            backend: target.told(),
            called: None,
        };
        Ok(Worked::completed(delivered, price.msats, run))
    }
}
