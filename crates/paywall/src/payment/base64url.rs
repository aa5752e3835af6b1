//! Base64url as the drafts have it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Base64url without padding.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding, or with the padding that its length needs: the Lightning drafts ("Encoding
/// Conventions") say that both must be accepted. Other characters and bits that no byte needs are refused.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let unpadded = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .filter(|_| text.len().is_multiple_of(4))
        .unwrap_or(text);
    URL_SAFE_NO_PAD.decode(unpadded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_no_byte_needs_is_refused() {
        assert_eq!(decode("aGVsbG8").as_deref(), Some(&b"hello"[..]));
        assert_eq!(decode("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
        assert_eq!(decode("AA==").as_deref(), Some(&[0][..]));
        assert_eq!(decode("").as_deref(), Some(&b""[..]));
        for wrong in
            ["AB", "AB==", "a+b/", "aGVs\nbG8", "aGVsbG8==", "aGVsbG=", "A", "=", "====", "AA=", " AA", "é"]
        {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        /// But for its padding, no text has a second spelling.
        #[test]
        fn what_is_decoded_is_encoded_in_the_same_way(text in "[A-Za-z0-9_=-]{0,12}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text.trim_end_matches('='));
            }
        }
    }
}
