//! Nostr public keys.

use nostr::nips::nip19::{FromBech32, ToBech32};
use std::fmt;
use std::str::FromStr;

/// A Nostr public key: an x-only secp256k1 key of 32 bytes (NIP-01, BIP-340). Written as 64 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub struct NostrPubkey([u8; 32]);

/// The reason why a text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPubkey {
    /// The text is neither hex nor an npub.
    #[error("invalid Nostr public key: expected 64 lowercase hex digits or npub1…")]
    NotAKey,
    /// The hex digits are not in lower case, as NIP-01 requires.
    #[error("invalid Nostr public key: expected lowercase hex, got uppercase digits")]
    UpperCase,
    /// The npub is malformed.
    #[error("invalid npub: wrong checksum, or the content is not a public key")]
    Npub,
    /// The number is not the x coordinate of a curve point.
    #[error("invalid Nostr public key: not on the curve")]
    NotOnCurve,
}

impl NostrPubkey {
    /// Creates a key from its bytes.
    ///
    /// # Errors
    /// [`InvalidPubkey::NotOnCurve`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidPubkey> {
        nostr::key::PublicKey::from_byte_array(bytes).xonly().map_err(|_| InvalidPubkey::NotOnCurve)?;
        Ok(Self(bytes))
    }

    /// Reads a previously verified key from hex. Whether it is on the curve is not checked again.
    ///
    /// # Errors
    /// [`InvalidPubkey`] if the text is not lowercase hex.
    pub fn restore(hex: &str) -> Result<Self, InvalidPubkey> {
        if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidPubkey::UpperCase);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex, &mut bytes).map_err(|_| InvalidPubkey::NotAKey)?;
        Ok(Self(bytes))
    }

    /// The key's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The key in its display form: `npub1…` (NIP-19).
    #[must_use]
    pub fn npub(self) -> String {
        let Ok(npub) = nostr::key::PublicKey::from_byte_array(self.0).to_bech32();
        npub
    }
}

impl FromStr for NostrPubkey {
    type Err = InvalidPubkey;

    /// Parses hex or an npub and verifies that the key is on the curve.
    fn from_str(text: &str) -> Result<Self, InvalidPubkey> {
        if text.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("npub1")) {
            let key = nostr::key::PublicKey::from_bech32(text).map_err(|_| InvalidPubkey::Npub)?;
            return Self::from_bytes(key.to_bytes());
        }
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(InvalidPubkey::NotAKey);
        }
        Self::from_bytes(Self::restore(text)?.0)
    }
}

impl fmt::Display for NostrPubkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<NostrPubkey> for String {
    fn from(key: NostrPubkey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for NostrPubkey {
    type Error = InvalidPubkey;
    fn try_from(text: String) -> Result<Self, InvalidPubkey> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// NIP-19's example.
    const HEX: &str = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
    const NPUB: &str = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";

    fn parse(text: &str) -> Result<NostrPubkey, InvalidPubkey> {
        text.parse()
    }

    #[test]
    fn a_key_is_read_as_hex_and_as_npub_and_written_as_both() {
        let key = parse(HEX).unwrap();
        assert_eq!(parse(NPUB), Ok(key));
        assert_eq!((key.to_string().as_str(), key.npub().as_str()), (HEX, NPUB));
        assert_eq!(NostrPubkey::from_bytes(key.to_bytes()), Ok(key));
        assert_eq!(NostrPubkey::restore(HEX), Ok(key));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_key_is_serialized_as_hex() {
        let key = parse(HEX).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{HEX}\""));
        assert_eq!(serde_json::from_str::<NostrPubkey>(&format!("\"{NPUB}\"")).unwrap(), key);
        assert!(serde_json::from_str::<NostrPubkey>("1").is_err());
    }

    #[test]
    fn hex_in_upper_case_is_refused_with_its_own_reason() {
        assert_eq!(parse(&HEX.to_uppercase()), Err(InvalidPubkey::UpperCase));
        assert_eq!(parse(&HEX.replacen('e', "E", 1)), Err(InvalidPubkey::UpperCase));
        assert_eq!(NostrPubkey::restore(&HEX.to_uppercase()), Err(InvalidPubkey::UpperCase));
    }

    #[test]
    fn a_key_that_is_on_no_curve_is_refused() {
        // Neither has a y: seven more than the cube of five is no square, and the last is beyond the field.
        for nobody in ["0".repeat(64), format!("{:064}", 5), "f".repeat(64)] {
            assert_eq!(parse(&nobody), Err(InvalidPubkey::NotOnCurve), "{nobody}");
            assert!(NostrPubkey::restore(&nobody).is_ok(), "what we have kept is not checked again");
            let npub = NostrPubkey::restore(&nobody).unwrap().npub();
            assert_eq!(parse(&npub), Err(InvalidPubkey::NotOnCurve), "{npub}");
        }
    }

    #[test]
    fn a_mistyped_npub_is_refused() {
        let nsec = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";
        for at in 5..NPUB.len() {
            let mut typed = NPUB.as_bytes().to_vec();
            typed[at] = if typed[at] == b'q' { b'p' } else { b'q' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(parse(&typed), Err(InvalidPubkey::Npub), "{typed}");
        }
        for wrong in ["npub1", &NPUB[..62], &format!("{NPUB}q"), "npub1é", &nsec.replace("nsec", "npub")] {
            assert_eq!(parse(wrong), Err(InvalidPubkey::Npub), "{wrong}");
        }
        assert_eq!(parse(nsec), Err(InvalidPubkey::NotAKey));
    }

    #[test]
    fn what_is_no_key_is_told_so() {
        let cut = "é".repeat(32);
        for wrong in [
            "",
            " ",
            "npub",
            "npu\u{e9}1",
            "\u{1f9e1}\u{1f9e1}",
            &cut,
            &HEX[1..],
            &format!("0x{HEX}"),
            &format!(" {HEX}"),
            &format!("nostr:{NPUB}"),
        ] {
            assert_eq!(parse(wrong), Err(InvalidPubkey::NotAKey), "{wrong:?}");
        }
        assert_eq!(NostrPubkey::restore(&cut), Err(InvalidPubkey::NotAKey));
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC*|npub1[a-z0-9]*|NPUB1\\PC*|[0-9a-fA-F]{64}") {
            let _ = NostrPubkey::restore(&text);
            if let Ok(key) = parse(&text) {
                prop_assert_eq!(parse(&key.npub()), Ok(key));
                prop_assert_eq!(parse(&key.to_string()), Ok(key));
            }
        }
    }
}
