//! What a backend has done and nobody pays for: it is booked as the operator's loss.

use super::service::Quotes;
use crate::books::{Post, Posting};
use crate::committer::CommitError;
use crate::error_chain::chain;
use crate::inference::{ChatRequest, InferenceError, Meter, PROBE_OUTPUT_MAX, PROBE_TEXT, ProbeUsage};
use std::sync::Arc;
use std::time::Duration;
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_money::Msats;
use tithe_pricing::{Priced, Purpose, Quote, Usage};
use tracing::warn;
use uuid::Uuid;

/// How long a booking waits for a database that is busy, and how often it tries.
const BOOKING_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const BOOKING_TRIES_MAX: u32 = 300;

/// A run of a model that nobody has paid for yet. What it has used is booked as the operator's loss, unless a result pays for it: also
/// when nobody waits for it any more, because another worker has taken the job over or the server stops.
pub(crate) struct UnpaidRun {
    quotes: Arc<Quotes>,
    quote: Quote,
    /// The chat; an empty one if texts are embedded.
    request: ChatRequest,
    /// The tokens of the texts that are embedded, as counted; `None` for a chat.
    embedded: Option<Usage>,
    /// The price of the call of a mounted route, if that is the run.
    call: Option<Msats>,
    meter: Arc<Meter>,
    concerns: Uuid,
    occasion: String,
    open: bool,
}

impl UnpaidRun {
    /// Begins a run at the rates of `quote`. `occasion` makes it unique for what it `concerns`.
    pub(crate) fn new(
        quotes: &Arc<Quotes>,
        quote: &Quote,
        request: ChatRequest,
        concerns: Uuid,
        occasion: String,
    ) -> Self {
        let (quotes, quote, meter) = (Arc::clone(quotes), quote.clone(), Arc::default());
        Self { quotes, quote, request, embedded: None, call: None, meter, concerns, occasion, open: true }
    }

    /// Begins a run that embeds texts, which count for `counted`.
    pub(crate) fn of_embeddings(
        quotes: &Arc<Quotes>,
        quote: &Quote,
        counted: Usage,
        concerns: Uuid,
        occasion: String,
    ) -> Self {
        let (model, chat) = (quote.model.clone(), Arc::default());
        let nothing = ChatRequest { model, chat, max_output_tokens: 0, deterministic: false };
        let mut run = Self::new(quotes, quote, nothing, concerns, occasion);
        run.embedded = Some(counted);
        run
    }

    /// Begins the call of a mounted route, for the price of `quote`.
    pub(crate) fn of_call(quotes: &Arc<Quotes>, quote: &Quote, concerns: Uuid) -> Self {
        let mut run = Self::of_embeddings(quotes, quote, Usage::ZERO, concerns, "call".to_owned());
        run.call = Some(quote.max.msats);
        run
    }

    /// What the run costs, at the prices of where it runs.
    pub(crate) const fn quote(&self) -> &Quote {
        &self.quote
    }

    pub(crate) fn request(&self) -> &ChatRequest {
        &self.request
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// A result pays for it.
    pub(crate) fn paid(mut self) {
        self.open = false;
    }

    /// It has answered, and nobody pays for the answer.
    pub(crate) async fn unpaid(mut self, usage: &Usage) {
        self.book(usage).await;
        // Only now: if this was cut short, it is booked when the run is dropped, under the same key.
        self.open = false;
    }

    /// It has failed.
    pub(crate) async fn failed(mut self, failure: &InferenceError) {
        if let Some(usage) = self.lost(Some(failure)) {
            self.book(&usage).await;
        }
        self.open = false;
    }

    async fn book(&self, usage: &Usage) {
        let Self { quotes, quote, call, concerns, occasion, .. } = self;
        quotes.book_run(quote, *call, usage, *concerns, occasion).await;
    }

    fn lost(&self, failure: Option<&InferenceError>) -> Option<Usage> {
        if let Some(counted) = self.embedded {
            return failure.is_none_or(InferenceError::may_have_worked).then_some(counted);
        }
        self.meter.lost(&self.quotes.core.ports.catalogue, &self.request, failure)
    }
}

impl Drop for UnpaidRun {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (Some(usage), Ok(runtime)) = (self.lost(None), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (quotes, quote, call) = (Arc::clone(&self.quotes), self.quote.clone(), self.call);
        let (concerns, occasion) = (self.concerns, std::mem::take(&mut self.occasion));
        runtime.spawn(async move { quotes.book_run(&quote, call, &usage, concerns, &occasion).await });
    }
}

impl Quotes {
    /// Books the price of `usage`, at the rates of `quote`, as uncollected. `occasion` makes the booking unique for what it
    /// `concerns`.
    pub(crate) async fn book_uncollected(
        &self,
        quote: &Quote,
        usage: &Usage,
        concerns: Uuid,
        occasion: &str,
    ) {
        let Ok(price) = quote.price(usage) else { return };
        self.book(price.msats, concerns, format!("uncollected:{concerns}:{occasion}")).await;
    }

    /// Books a run that nobody pays for: the price of a call, or of what a model has used.
    async fn book_run(
        &self,
        quote: &Quote,
        call: Option<Msats>,
        usage: &Usage,
        concerns: Uuid,
        occasion: &str,
    ) {
        match call {
            Some(price) => self.book(price, concerns, format!("uncollected:{concerns}:{occasion}")).await,
            None => self.book_uncollected(quote, usage, concerns, occasion).await,
        }
    }

    /// Books an amount that a request has cost beyond what its customer got.
    pub(crate) async fn book_lost(&self, amount: Msats, request: Uuid) {
        self.book(amount, request, format!("uncollected:{request}:undelivered")).await;
    }

    /// Books what a probe used.
    pub(crate) async fn book_probe(&self, probe: &ProbeUsage) {
        let Some(model) = self.core.ports.catalogue.model(&probe.model) else { return };
        let Ok(terms) = self.terms().await else {
            warn!(model = probe.model, "a probe of the backend could not be priced and is not booked");
            return;
        };
        let quote = match model.purpose {
            Purpose::Chat => model.quote(&[PROBE_TEXT], Some(PROBE_OUTPUT_MAX), &terms),
            Purpose::Embeddings => model.quote_embeddings(model.input_tokens([PROBE_TEXT]), &terms),
        };
        let Ok(quote) = quote else { return };
        let most = Usage {
            input_tokens: quote.tokens.max_input,
            cached_input_tokens: 0,
            output_tokens: quote.tokens.max_output,
            ..Usage::ZERO
        };
        self.book_uncollected(&quote, &probe.usage.unwrap_or(most), self.core.new_id(), "probe").await;
    }

    async fn book(&self, amount: Msats, reference: Uuid, key: String) {
        if amount.is_zero() {
            return;
        }
        let posting = Posting {
            key: TransferKey::new(key),
            debit: AccountId::Operator,
            credit: AccountId::Revenue,
            amount,
            kind: TransferKind::Uncollected,
            reference,
        };
        let mut tries = 1;
        // The key makes it one booking, however often it is tried.
        while let Err(failure) = self.core.committer.commit(Post(posting.clone())).await {
            if matches!(failure, CommitError::Refused(_)) || tries >= BOOKING_TRIES_MAX {
                warn!(
                    error = chain(&failure),
                    amount_msats = amount.get(),
                    "what nobody pays for could not be booked"
                );
                return;
            }
            tries += 1;
            tokio::time::sleep(BOOKING_RETRY_INTERVAL).await;
        }
    }
}
