//! The `Retry-After` header.

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The maximum delay. Longer delays are shortened to it, because the backend may have recovered by then.
const WAIT_MAX: Duration = Duration::from_mins(10);

/// Parses `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, which is compared with the response's own
/// `Date` so that clock differences do not matter.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |name| OffsetDateTime::parse(text(name)?, &Rfc2822).ok();
    let wait = match text(RETRY_AFTER)?.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date in the past means now.
        Err(_) => Duration::try_from(date(RETRY_AFTER)? - date(DATE)?).unwrap_or_default(),
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(retry_after: &str, date: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        headers.insert(DATE, date.parse().unwrap());
        read(&headers)
    }

    #[test]
    fn seconds_and_dates_are_understood_and_capped() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (retry_after, wait) in [
            ("0", Some(Duration::ZERO)),
            (" 7 ", Some(Duration::from_secs(7))),
            ("86400", Some(WAIT_MAX)),
            ("Sun, 06 Nov 1994 08:49:49 GMT", Some(Duration::from_secs(12))),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(WAIT_MAX)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(Duration::ZERO)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(read_from(retry_after, date), wait, "{retry_after}");
        }
        assert_eq!(read_from("Sun, 06 Nov 1994 08:49:49 GMT", "yesterday"), None);
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
