//! The settings of the live feed.

use crate::Source;
use std::time::Duration;

/// The settings of [`crate::LivePriceFeed`]. The defaults are suitable for production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceSettings {
    /// The sources to query. All known sources by default.
    pub sources: Vec<Source>,
    /// The minimum number of usable responses. Two by default.
    pub answers_min: usize,
    /// The age at which the price is refreshed. One minute by default.
    pub refresh_after: Duration,
    /// How long the last price can be used if it cannot be refreshed. A quarter of an hour by default.
    pub max_age: Duration,
    /// The maximum age of a price according to its source. Ten minutes by default.
    pub source_max_age: Duration,
    /// The timeout of one source's whole response. Five seconds by default.
    pub timeout: Duration,
    /// How long a failure is returned to callers before the sources are queried again. Ten seconds by default.
    pub retry_after: Duration,
    /// The maximum size of a response. 64 KiB by default.
    pub body_bytes_max: usize,
}

impl Default for PriceSettings {
    fn default() -> Self {
        Self {
            sources: Source::all(),
            answers_min: 2,
            refresh_after: Duration::from_mins(1),
            max_age: Duration::from_mins(15),
            source_max_age: Duration::from_mins(10),
            timeout: Duration::from_secs(5),
            retry_after: Duration::from_secs(10),
            body_bytes_max: 64 * 1024,
        }
    }
}
