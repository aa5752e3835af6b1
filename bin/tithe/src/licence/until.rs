//! The time until which a licence is valid, as an operator writes it.

use std::time::Duration;
use tithe_clock::Timestamp;

/// Reads a date (`2027-06-30`: through that day, UTC) or an RFC 3339 time. Returns when the licence expires.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    if is_date(text) {
        let midnight = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"));
        let midnight = midnight.ok().filter(|midnight| *midnight >= Timestamp::MIN);
        let midnight = midnight.ok_or_else(|| format!("the date {text} does not exist"))?;
        return Ok(midnight + Duration::from_hours(24));
    }
    if text.get(..10).is_some_and(is_date) {
        let time = Timestamp::parse_rfc3339(text).ok().filter(|time| *time >= Timestamp::MIN);
        let expected = "expected an RFC 3339 time on a date that exists, such as 2027-06-30T12:00:00Z";
        return time.ok_or_else(|| format!("invalid time: {expected}, got {text}"));
    }
    Err("expected a date, such as 2027-06-30, or an RFC 3339 time, such as 2027-06-30T12:00:00Z".to_owned())
}

/// Whether the text has the form of a date, of a day that exists or not.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_valid_through_that_day() {
        for (text, end) in [
            ("2027-06-30", "2027-07-01T00:00:00.000000Z"),
            ("2027-12-31", "2028-01-01T00:00:00.000000Z"),
            ("2028-02-29", "2028-03-01T00:00:00.000000Z"),
            ("2027-06-30T12:00:00Z", "2027-06-30T12:00:00.000000Z"),
            ("2027-06-30T12:00:00+02:00", "2027-06-30T10:00:00.000000Z"),
            ("1969-12-31", "1970-01-01T00:00:00.000000Z"),
            ("9999-12-31", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(until(text).unwrap().to_string(), end, "{text}");
        }
    }

    #[test]
    fn a_day_that_does_not_exist_is_named() {
        for text in ["2027-02-30", "2027-02-29", "2027-13-01", "2027-00-10", "2027-04-31", "0000-01-01"] {
            assert_eq!(until(text), Err(format!("the date {text} does not exist")));
        }
        for text in ["2027-02-30T12:00:00Z", "2027-02-28T25:00:00Z", "2027-02-28T12:00:00", "2027-02-28 "] {
            let refused = until(text).unwrap_err();
            assert!(
                refused.starts_with("invalid time: expected") && refused.ends_with(&format!(", got {text}")),
                "{refused}"
            );
        }
        for text in ["", "tomorrow", "30.06.2027", "2027-6-30", "20270630", "-027-06-30", "2027-06-3ä"] {
            assert!(until(text).unwrap_err().starts_with("expected a date"), "{text}");
        }
    }
}
