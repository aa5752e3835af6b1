//! Embedding the texts of a metered request.

use super::work::{Delivered, Failure, MeteredRequest, Worked};
use crate::inference::{self, Embedded, EmbeddingRequest};
use crate::quotes::{Quotes, UnpaidRun};
use std::sync::Arc;
use tithe_chat::{EmbeddingTask, Finish, Reply};
use tithe_pricing::{FinishReason, Priced, Usage};

impl MeteredRequest<'_> {
    /// Does the work. What a backend may have done that fails is booked as a loss.
    pub(super) async fn embed(
        &self,
        quotes: &Arc<Quotes>,
        task: &Arc<EmbeddingTask>,
    ) -> Result<Worked, Failure> {
        let quote = &self.quotes.work;
        let counted = Usage { input_tokens: quote.tokens.input, ..Usage::ZERO };
        let request = EmbeddingRequest { model: quote.model.clone(), task: Arc::clone(task) };
        let run = UnpaidRun::of_embeddings(quotes, quote, counted, self.id);
        let embedding =
            inference::embed(self.backend, quotes.catalogue(), &request, counted, self.patience).await;
        let Embedded { vectors, usage, estimated } = match embedding {
            Ok(embedded) => embedded,
            Err(failure) => {
                if let Some(health) = self.health {
                    health.suspect(&quote.model, &failure);
                }
                run.failed(&failure).await;
                return Err(Failure::Backend(failure));
            }
        };
        if let Some(health) = self.health {
            health.answered(&quote.model);
        }
        let price = quote.price_or_max(&usage);
        let delivered = Delivered {
            reply: Arc::new(Reply { parts: Vec::new(), finish: Finish::Stop }),
            text: "".into(),
            vectors: Some(Arc::new(vectors)),
            usage,
            estimated,
            finish: FinishReason::Stop,
            usd: price.usd,
        };
        Ok(Worked::completed(delivered, price.msats, run))
    }
}
