//! Calling the service behind a mounted route.

use super::failure::Failure;
use super::work::{Delivered, MeteredRequest, Worked};
use crate::log::SlowCall;
use crate::mounts::{MountedCall, UpstreamError};
use crate::quotes::{Quotes, UnpaidRun};
use std::sync::Arc;
use std::time::Duration;
use tithe_chat::{Delta, Finish, Reply};
use tithe_money::Msats;
use tithe_pricing::{CallPrice, FinishReason, Usage};
use tokio::time::timeout;

/// A customer waits for the answer.
const SLOW: Duration = Duration::from_secs(20);

impl MeteredRequest<'_> {
    /// Calls the service, once. What it may have done without an answer is booked as a loss.
    pub(super) async fn call(
        &self,
        quotes: &Arc<Quotes>,
        call: &MountedCall,
        price: CallPrice,
    ) -> Result<Worked, Failure> {
        let quote = &self.quotes.work;
        let run = UnpaidRun::of_call(quotes, quote, self.id);
        let upstream = call.mount.upstream.as_ref();
        let slow = SlowCall::begin("upstream", "call", SLOW);
        let called = match &self.client.listener {
            None => timeout(self.patience, upstream.call(&call.call, None)).await,
            Some(listener) => {
                let pieces = |text: &str| listener(&Delta::Text(text.to_owned()));
                timeout(self.patience, upstream.call(&call.call, Some(&pieces))).await
            }
        };
        drop(slow);
        let called = match called.unwrap_or(Err(UpstreamError::TimedOut)) {
            Ok(called) => called,
            Err(failure) => {
                if failure.may_have_worked() {
                    run.unpaid(&Usage::ZERO).await;
                } else {
                    run.paid();
                }
                return Err(Failure::Upstream(failure));
            }
        };
        let most = quote.max.msats;
        let cost =
            if called.is_refusal() { Msats::ZERO } else { price.of(called.tokens).unwrap_or(most).min(most) };
        let usd = quote.terms.btc.price.value_rounding_up(cost).unwrap_or(quote.max.usd);
        let delivered = Delivered {
            reply: Arc::new(Reply { parts: Vec::new(), finish: Finish::Stop }),
            text: "".into(),
            vectors: None,
            usage: Usage { output_tokens: called.tokens.unwrap_or_default(), ..Usage::ZERO },
            estimated: false,
            finish: FinishReason::Stop,
            usd,
            backend: None,
            called: Some(Arc::new(called)),
        };
        Ok(Worked::completed(delivered, cost, run))
    }
}
