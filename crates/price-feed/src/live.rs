//! The live price feed: the median of public sources.

use crate::PriceSettings;
use crate::agreed::Agreed;
use crate::fetch::{Limits, SourceError, ask};
use crate::source::Source;
use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::Client;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::{Clock, Timestamp};
use tithe_engine::log::SlowCall;
use tithe_money::BtcPrice;
use tithe_pricing::{BtcQuote, PriceError, PriceFeed};

/// The minimum interval of background refreshes, whatever the settings are.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// A source answers within a few hundred milliseconds. Nobody waits for one that does not: the price is refreshed before it is old.
const SLOW: Duration = Duration::from_secs(3);

/// The reason why a live feed cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceFeedError {
    /// The settings can never produce a price.
    #[error("too few price sources: expected at least {needed}, got {sources}")]
    TooFewSources {
        /// The minimum number of usable responses.
        needed: usize,
        /// The number of sources.
        sources: usize,
    },
    /// The settings require no source at all.
    #[error("invalid minimum of price sources: expected at least 1, got 0")]
    NoneNeeded,
    /// The HTTPS client cannot be created, for example because the machine has no root certificates.
    #[error("cannot create the HTTPS client for the price sources")]
    Client(#[source] reqwest::Error),
}

/// The reason why a refresh produced no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too few price sources: expected {needed} usable responses, got {answered}")]
pub struct TooFewAnswers {
    /// The number of usable responses.
    pub answered: usize,
    /// The number required.
    pub needed: usize,
}

/// The median of several public sources, cached for some time.
///
/// Sources are queried in parallel. A response is usable if it arrives in time, is well-formed, is plausible (100 to
/// 100 000 000 USD) and, if the source reports a time, is recent.
pub struct LivePriceFeed {
    settings: PriceSettings,
    client: Client,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held by the task that queries the sources; all others wait for its result.
    asking: tokio::sync::Mutex<()>,
}

/// The current state.
#[derive(Debug, Clone, Default)]
struct Known {
    last_good: Option<BtcQuote>,
    /// The time and result of the last failed query, unless a later one succeeded.
    failed: Option<(Timestamp, TooFewAnswers)>,
    /// The number of queries so far.
    asked: u64,
}

/// The distance between two times. If the clock is set back, the cached price becomes stale instead of staying fresh.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

impl LivePriceFeed {
    /// Creates a feed without a price. It queries the sources on first use, or once [`LivePriceFeed::run`] runs.
    ///
    /// # Errors
    /// [`PriceFeedError`] if the settings can never produce a price, or the HTTPS client cannot be created.
    pub fn new(settings: PriceSettings, clock: Arc<dyn Clock>) -> Result<Self, PriceFeedError> {
        let (needed, sources) = (settings.answers_min, settings.sources.len());
        if needed == 0 {
            return Err(PriceFeedError::NoneNeeded);
        }
        if needed > sources {
            return Err(PriceFeedError::TooFewSources { needed, sources });
        }
        let client = Client::builder()
            .user_agent(concat!("tithe/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(PriceFeedError::Client)?;
        let (known, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { settings, client, clock, known, asking })
    }

    /// Keeps the price fresh until `stop` is ready.
    ///
    /// It refreshes shortly before the price becomes stale, so that callers of [`PriceFeed::btc_price`] never wait
    /// while it runs. Otherwise they wait when the price is older than [`PriceSettings::refresh_after`].
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        let keep_fresh = async {
            loop {
                let pause = match self.refresh().await {
                    Ok(_) => self.settings.refresh_after.saturating_mul(3) / 4,
                    Err(_) => self.settings.retry_after.min(self.settings.refresh_after),
                };
                tokio::time::sleep(pause.max(PAUSE_MIN)).await;
            }
        };
        tokio::select! {
            () = stop => {}
            () = keep_fresh => {}
        }
    }

    /// Queries the sources now, even if the price is fresh; or waits for the query in progress.
    ///
    /// # Errors
    /// [`TooFewAnswers`]; the last price is kept.
    pub async fn refresh(&self) -> Result<BtcQuote, TooFewAnswers> {
        let asked_before = self.known().asked;
        self.refresh_after(asked_before).await
    }

    /// Queries the sources, unless another task has done so since the query count was `asked_before`: then that result
    /// is returned.
    async fn refresh_after(&self, asked_before: u64) -> Result<BtcQuote, TooFewAnswers> {
        let _turn = self.asking.lock().await;
        let Known { asked, failed, last_good } = self.known().clone();
        if asked != asked_before {
            match (failed, last_good) {
                (Some((_, failure)), _) => return Err(failure),
                (None, Some(quote)) => return Ok(quote),
                (None, None) => {}
            }
        }
        let outcome = self.ask_all().await;
        let now = self.clock.now();
        let mut known = self.known();
        known.asked = known.asked.wrapping_add(1);
        match outcome {
            Ok(price) => {
                let quote = BtcQuote { price, as_of: now };
                known.failed = None;
                known.last_good = Some(quote);
                Ok(quote)
            }
            Err(failure) => {
                tracing::warn!(
                    answered = failure.answered,
                    needed = failure.needed,
                    "cannot refresh the BTC price"
                );
                known.failed = Some((now, failure.clone()));
                Err(failure)
            }
        }
    }

    async fn ask_all(&self) -> Result<BtcPrice, TooFewAnswers> {
        let ask = |source| async move { Some((source, self.ask_one(source).await?)) };
        let answers = join_all(self.settings.sources.iter().map(ask)).await;
        let prices: Vec<(&Source, BtcPrice)> = answers.into_iter().flatten().collect();
        let too_few = |answered| TooFewAnswers { answered, needed: self.settings.answers_min };
        if prices.len() < self.settings.answers_min {
            return Err(too_few(prices.len()));
        }
        let said: Vec<String> =
            prices.iter().map(|(source, price)| format!("{} {price}", source.publisher())).collect();
        let Some(agreed) = Agreed::of(prices) else {
            tracing::warn!(prices = said.join(", "), "the BTC price sources disagree: there is no price");
            return Err(too_few(0));
        };
        for (source, price) in &agreed.outliers {
            let agreed = agreed.price;
            tracing::warn!(source = source.publisher().name(), price = %price, agreed = %agreed, "a BTC price is dropped: it is more than 5 % off");
        }
        if agreed.agreeing.len() < self.settings.answers_min {
            return Err(too_few(agreed.agreeing.len()));
        }
        Ok(agreed.price)
    }

    /// The price of this source, if it is usable.
    async fn ask_one(&self, source: &Source) -> Option<BtcPrice> {
        let limits = Limits { timeout: self.settings.timeout, body_bytes_max: self.settings.body_bytes_max };
        let slow = SlowCall::begin("price_source", source.publisher().name(), SLOW);
        let answer = ask(&self.client, source, limits).await.and_then(|answer| {
            let age = answer.as_of.map(|as_of| self.clock.now().since(as_of));
            let stale = age.is_some_and(|age| age > self.settings.source_max_age);
            if stale { Err(SourceError::Stale) } else { Ok(answer.price) }
        });
        drop(slow);
        answer
            .inspect_err(|error| {
                let error: &dyn std::error::Error = error;
                tracing::warn!(
                    source = source.publisher().name(),
                    error,
                    "a BTC price source has no usable price"
                );
            })
            .ok()
    }

    /// Queries the sources when the price is too old, but not again immediately after a failure.
    async fn refresh_if_due(&self) {
        let (due, asked) = {
            let (known, now) = (self.known(), self.clock.now());
            let is_younger = |at, limit| apart(now, at) < limit;
            let fresh =
                known.last_good.is_some_and(|quote| is_younger(quote.as_of, self.settings.refresh_after));
            let just_failed =
                known.failed.as_ref().is_some_and(|(at, _)| is_younger(*at, self.settings.retry_after));
            (!fresh && !just_failed, known.asked)
        };
        if due {
            // The failure has been logged, and the last price may still be usable.
            let _outcome = self.refresh_after(asked).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PriceFeed for LivePriceFeed {
    async fn btc_price(&self) -> Result<BtcQuote, PriceError> {
        self.refresh_if_due().await;
        let quote = self.known().last_good.ok_or(PriceError::NeverKnown)?;
        if apart(self.clock.now(), quote.as_of) > self.settings.max_age {
            return Err(PriceError::TooOld { as_of: quote.as_of });
        }
        Ok(quote)
    }
}
