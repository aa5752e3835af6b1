//! The price that public sources agree on.

use crate::PriceSettings;
use crate::fetch::{Limits, SourceError, ask};
use crate::median::Median;
use crate::source::Source;
use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::Client;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tithe_clock::{Clock, Timestamp};
use tithe_money::BtcPrice;
use tithe_pricing::{BtcQuote, PriceError, PriceFeed};

/// However the settings are, the sources are not asked more often than this in the background.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Why a live feed cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceFeedError {
    /// No price could ever be found with these settings.
    #[error("{needed} price sources must answer, and there are {sources}")]
    TooFewSources {
        /// How many must answer.
        needed: usize,
        /// How many there are.
        sources: usize,
    },
    /// Every price would need no source at all.
    #[error("at least one price source must answer")]
    NoneNeeded,
    /// No HTTPS client can be made, for example because the machine has no root certificates.
    #[error("no HTTPS client for the price sources")]
    Client(#[source] reqwest::Error),
}

/// Why asking the sources gave no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("only {answered} price sources gave a usable answer, and {needed} are needed")]
pub struct TooFewAnswers {
    /// How many answers counted.
    pub answered: usize,
    /// How many would have been enough.
    pub needed: usize,
}

/// The median of what several public sources say, kept for a while.
///
/// Sources are asked in parallel. An answer counts when it came in time, can be read, is plausible (100 to 100 000
/// 000 USD) and, where the source tells its time, is recent.
pub struct LivePriceFeed {
    settings: PriceSettings,
    client: Client,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held by who asks the sources; all others wait for the outcome.
    asking: tokio::sync::Mutex<()>,
}

/// What is known so far.
#[derive(Debug, Clone, Default)]
struct Known {
    last_good: Option<BtcQuote>,
    /// When the sources were asked in vain, and how that went, unless they have answered since.
    failed: Option<(Timestamp, TooFewAnswers)>,
    /// How often the sources have been asked.
    asked: u64,
}

/// How far apart two times are. A clock that is set back makes what was known stale, not fresh for ever.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

impl LivePriceFeed {
    /// A feed that knows nothing yet. It asks when it is first asked, or once [`LivePriceFeed::run`] runs.
    ///
    /// # Errors
    /// [`PriceFeedError`] when the settings can never give a price, or no HTTPS client can be made.
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
    /// It asks somewhat before the price falls due, so that callers of [`PriceFeed::btc_price`] never wait while it
    /// runs. Without it they do, when the price is older than [`PriceSettings::refresh_after`].
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

    /// Asks the sources now, however fresh the price is; or, when they are being asked already, waits for that.
    ///
    /// # Errors
    /// [`TooFewAnswers`]: the last good price stays.
    pub async fn refresh(&self) -> Result<BtcQuote, TooFewAnswers> {
        let asked_before = self.known().asked;
        self.refresh_after(asked_before).await
    }

    /// Asks the sources, unless somebody else has done so since they had been asked `asked_before` times: then that
    /// outcome is the answer.
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
                tracing::warn!(answered = failure.answered, needed = failure.needed, "no new BTC price");
                known.failed = Some((now, failure.clone()));
                Err(failure)
            }
        }
    }

    async fn ask_all(&self) -> Result<BtcPrice, TooFewAnswers> {
        let answers = join_all(self.settings.sources.iter().map(|source| self.ask_one(source))).await;
        let prices: Vec<_> = answers.into_iter().flatten().collect();
        let too_few = TooFewAnswers { answered: prices.len(), needed: self.settings.answers_min };
        if too_few.answered < too_few.needed {
            return Err(too_few);
        }
        let median = Median::of(prices).ok_or(too_few)?;
        if median.is_spread() {
            let Median { price, lowest, highest } = median;
            tracing::warn!(%price, %lowest, %highest, "the BTC price sources are more than 5 % apart");
        }
        Ok(median.price)
    }

    /// The price that this source gives, if it counts.
    async fn ask_one(&self, source: &Source) -> Option<BtcPrice> {
        let limits = Limits { timeout: self.settings.timeout, body_bytes_max: self.settings.body_bytes_max };
        let answer = ask(&self.client, source, limits).await.and_then(|answer| {
            let age = answer.as_of.map(|as_of| self.clock.now().since(as_of));
            let stale = age.is_some_and(|age| age > self.settings.source_max_age);
            if stale { Err(SourceError::Stale) } else { Ok(answer.price) }
        });
        answer
            .inspect_err(|error| {
                let error: &dyn std::error::Error = error;
                tracing::warn!(source = source.publisher().name(), error, "a BTC price source gave no price");
            })
            .ok()
    }

    /// Asks the sources when what is known has become too old, but not again at once when they have just failed.
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
            // A failure has been logged, and the last good price may still do.
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
