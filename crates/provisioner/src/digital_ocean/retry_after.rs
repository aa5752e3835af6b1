//! How long to wait after too many requests.

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The maximum delay: the limits of the API are per minute and per hour.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Reads `retry-after` in seconds, or else `ratelimit-reset`, the Unix time at which the oldest request no longer counts. The
/// latter is compared with the response's own `date`, so that clock differences do not matter.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()).or_else(|| {
        let reset: i64 = text("ratelimit-reset")?.parse().ok()?;
        let date = OffsetDateTime::parse(text(DATE.as_str())?, &Rfc2822).ok()?;
        // A time in the past means now.
        Some(u64::try_from(reset.saturating_sub(date.unix_timestamp())).unwrap_or(0))
    })?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_come_first_and_the_reset_is_compared_with_the_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let wait = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            read(&headers.collect())
        };
        for (headers, expected) in [
            (&[("retry-after", "7"), ("ratelimit-reset", "784111789"), date][..], Some(7)),
            (&[("ratelimit-reset", "784111789"), date], Some(12)),
            (&[("retry-after", "soon"), ("ratelimit-reset", "784111789"), date], Some(12)),
            (&[("ratelimit-reset", "784111770"), date], Some(0)),
            (&[("ratelimit-reset", "999999999"), date], Some(3600)),
            (&[("retry-after", "86400")], Some(3600)),
            (&[("ratelimit-reset", "784111789")], None),
            (&[("ratelimit-reset", "784111789"), ("date", "yesterday")], None),
            (&[], None),
        ] {
            assert_eq!(wait(headers), expected.map(Duration::from_secs), "{headers:?}");
        }
    }
}
