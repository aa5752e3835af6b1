//! Excerpts of answers, for the log.

/// The longest excerpt, in bytes.
const EXCERPT_BYTES_MAX: usize = 2 * 1024;

/// The beginning of `body` as text that fits into a log.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let beginning = body.get(..EXCERPT_BYTES_MAX).unwrap_or(body);
    String::from_utf8_lossy(beginning).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short() {
        assert_eq!(excerpt(&vec![b'x'; 10_000]).len(), EXCERPT_BYTES_MAX);
        assert_eq!(excerpt(b"short"), "short");
    }
}
