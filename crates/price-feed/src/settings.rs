//! How the live feed behaves.

use crate::Source;
use std::time::Duration;

/// How [`crate::LivePriceFeed`] behaves. The defaults are meant for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceSettings {
    /// Who is asked. All known sources by default.
    pub sources: Vec<Source>,
    /// How many sources must answer for there to be a price. Two by default.
    pub answers_min: usize,
    /// The age at which a price is asked for anew. One minute by default.
    pub refresh_after: Duration,
    /// How long the last good price can be used when no newer one can be had. A quarter of an hour by default.
    pub max_age: Duration,
    /// An answer that says itself that it is older than this does not count. Ten minutes by default.
    pub source_max_age: Duration,
    /// How long one source has for its whole answer. Five seconds by default.
    pub timeout: Duration,
    /// After sources have failed, how long callers are told so before the sources are asked again. Ten seconds by
    /// default.
    pub retry_after: Duration,
    /// The largest answer that is read. 64 KiB by default.
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
