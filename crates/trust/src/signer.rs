//! Event signing, for command-line clients, for the receipts of servers, and for tests.

use crate::http_auth::HTTP_AUTH;
use crate::login::CLIENT_AUTH;
use crate::{Nonce, NostrPubkey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nostr::event::{EventId, Kind, Tag, Tags};
use nostr::key::Keys;
use nostr::nips::nip19::{FromBech32, ToBech32};
use secp256k1::{Secp256k1, SignOnly};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use tithe_clock::Timestamp;

static CONTEXT: LazyLock<Secp256k1<SignOnly>> = LazyLock::new(Secp256k1::signing_only);

/// The secret half of a Nostr key. `Debug` hides it, and it is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey {
    keys: Keys,
    pubkey: NostrPubkey,
}

/// The reason why a text is not a secret key. The message never repeats the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid Nostr secret key: expected nsec1… or 64 lowercase hex digits, not zero and below the curve order"
)]
pub struct InvalidSecretKey;

impl SecretKey {
    /// Creates a key from random bytes.
    ///
    /// # Errors
    /// [`InvalidSecretKey`] with a probability of 2^-128: draw again.
    pub fn from_bytes(random: [u8; 32]) -> Result<Self, InvalidSecretKey> {
        Self::new(nostr::key::SecretKey::from_slice(&random).map_err(|_| InvalidSecretKey)?)
    }

    fn new(key: nostr::key::SecretKey) -> Result<Self, InvalidSecretKey> {
        let keys = Keys::new(key);
        let pubkey = NostrPubkey::from_bytes(keys.public_key().to_bytes()).map_err(|_| InvalidSecretKey)?;
        Ok(Self { keys, pubkey })
    }

    /// The key in its storage form: `nsec1…` (NIP-19). Anyone who sees it can act as its owner.
    #[must_use]
    pub fn nsec(&self) -> String {
        let Ok(nsec) = self.keys.secret_key().to_bech32();
        nsec
    }

    /// The public half.
    #[must_use]
    pub const fn pubkey(&self) -> NostrPubkey {
        self.pubkey
    }

    /// A signed event as JSON (NIP-01). Empty tags are left out; a time before 1970 becomes 1970.
    ///
    /// `aux` is fresh random data that protects the key against side-channel attacks (BIP-340); otherwise any value is
    /// safe.
    #[must_use]
    pub fn sign(
        &self,
        kind: u16,
        tags: &[&[&str]],
        content: &str,
        created_at: Timestamp,
        aux: [u8; 32],
    ) -> String {
        let tags: Vec<Tag> = tags.iter().filter_map(|tag| Tag::parse(tag.iter().copied()).ok()).collect();
        let tags = Tags::from_list(tags);
        let pubkey = self.keys.public_key();
        let seconds = u64::try_from(created_at.unix_seconds()).unwrap_or(0);
        let time = nostr::types::Timestamp::from_secs(seconds);
        let id = EventId::compute(&pubkey, &time, &Kind::from_u16(kind), &tags, content);
        let sig = self.keys.sign_schnorr_with_aux_rand(&CONTEXT, id.as_bytes(), &aux);
        let tags: Vec<&[String]> = tags.iter().map(Tag::as_slice).collect();
        serde_json::json!({
            "id": id.to_hex(),
            "pubkey": pubkey.to_hex(),
            "created_at": seconds,
            "kind": kind,
            "tags": tags,
            "content": content,
            "sig": sig.to_hex(),
        })
        .to_string()
    }

    /// The value of an `Authorization` header that signs a request (NIP-98). `url` is the full URL, including the
    /// query.
    #[must_use]
    pub fn http_auth(
        &self,
        url: &str,
        method: &str,
        body: &[u8],
        created_at: Timestamp,
        aux: [u8; 32],
    ) -> String {
        let hash = hex::encode(Sha256::digest(body));
        let tags: [&[&str]; 3] = [&["u", url], &["method", method], &["payload", &hash]];
        let tags = if body.is_empty() { tags.get(..2).unwrap_or(&tags) } else { &tags };
        format!("Nostr {}", STANDARD.encode(self.sign(HTTP_AUTH, tags, "", created_at, aux)))
    }

    /// The event that responds to a challenge of the server at `url` (kind 22242, NIP-42), as JSON.
    #[must_use]
    pub fn login(&self, nonce: Nonce, url: &str, created_at: Timestamp, aux: [u8; 32]) -> String {
        let tags: [&[&str]; 2] = [&["relay", url], &["challenge", &nonce.to_string()]];
        self.sign(CLIENT_AUTH, &tags, "", created_at, aux)
    }
}

impl FromStr for SecretKey {
    type Err = InvalidSecretKey;

    /// Parses `nsec1…` or lowercase hex.
    fn from_str(text: &str) -> Result<Self, InvalidSecretKey> {
        if let Some(bytes) = crate::event::lowercase_hex(text) {
            return Self::from_bytes(bytes);
        }
        Self::new(nostr::key::SecretKey::from_bech32(text).map_err(|_| InvalidSecretKey)?)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.pubkey())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, alice};
    use crate::{HttpAuth, InvalidEvent, VerifiedEvent};
    use proptest::prelude::*;

    /// NIP-19's example.
    const NSEC: &str = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";
    const HEX: &str = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa";

    #[test]
    fn a_key_is_read_as_nsec_and_as_hex_and_written_as_nsec() {
        let key: SecretKey = NSEC.parse().unwrap();
        assert_eq!(HEX.parse(), Ok(key.clone()));
        assert_eq!(key.nsec(), NSEC);
        assert_eq!(
            key.pubkey().to_string(),
            "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let mistyped = NSEC.replace("vl0", "vl9");
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let npub = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
        for wrong in
            ["", "nsec1", &mistyped, npub, &HEX[1..], &HEX.to_uppercase(), &"0".repeat(64), order, "nsec1é"]
        {
            assert_eq!(wrong.parse::<SecretKey>(), Err(InvalidSecretKey), "{wrong:?}");
        }
        assert_eq!(SecretKey::from_bytes([0; 32]), Err(InvalidSecretKey));
        assert_eq!(SecretKey::from_bytes([0xff; 32]), Err(InvalidSecretKey));
        assert!(!InvalidSecretKey.to_string().contains(HEX));
    }

    #[test]
    fn no_debug_shows_a_key() {
        let key: SecretKey = NSEC.parse().unwrap();
        assert_eq!(format!("{key:?}"), format!("SecretKey(of {})", key.pubkey()));
    }

    #[test]
    fn the_salt_changes_the_signature_and_nothing_else() {
        let sign = |aux| alice().sign(1, &[&["t", "x"]], "content", NOW, aux);
        let event = |aux| VerifiedEvent::parse(&sign(aux)).unwrap();
        assert_eq!(sign([1; 32]), sign([1; 32]));
        assert_ne!(sign([1; 32]), sign([2; 32]));
        assert_eq!(event([1; 32]), event([2; 32]));
    }

    #[test]
    fn empty_tags_and_times_before_1970_are_not_signed() {
        let early = Timestamp::parse_rfc3339("1969-12-31T00:00:00Z").unwrap();
        let event = VerifiedEvent::parse(&alice().sign(1, &[&[], &["t", "x"]], "", early, [0; 32])).unwrap();
        assert_eq!(event.created_at(), Timestamp::UNIX_EPOCH);
        assert_eq!(event.tag("t"), Some("x"));
    }

    #[test]
    fn a_request_without_a_body_is_signed_without_a_hash() {
        let tag = |body: &[u8]| {
            let event =
                HttpAuth::parse(&alice().http_auth("https://a.example/", "GET", body, NOW, [0; 32])).unwrap();
            event.tag("payload").map(str::to_owned)
        };
        assert_eq!(tag(b""), None);
        assert_eq!(
            tag(b"{}"),
            Some("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".into())
        );
    }

    #[test]
    fn a_login_carries_the_nonce_and_the_site() {
        let nonce = Nonce::from_bytes([0xab; 32]);
        let event =
            VerifiedEvent::parse(&alice().login(nonce, "https://tithe.example", NOW, [0; 32])).unwrap();
        assert_eq!((event.kind(), event.tag("challenge")), (22242, Some(nonce.to_string().as_str())));
        assert_eq!(event.tag("relay"), Some("https://tithe.example"));
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC*|nsec1[a-z0-9]*|[0-9a-f]{64}") {
            let _ = text.parse::<SecretKey>();
        }

        #[test]
        fn any_random_bytes_make_a_key_that_reads_back_and_signs(random in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
            let (key, other) = (SecretKey::from_bytes(random).unwrap(), SecretKey::from_bytes(other).unwrap());
            prop_assert_eq!(key.nsec().parse(), Ok(key.clone()));
            prop_assert_eq!(hex::encode(random).parse(), Ok(key.clone()));
            let mut event: serde_json::Value = serde_json::from_str(&key.sign(1, &[], "", NOW, [0; 32])).unwrap();
            prop_assert_eq!(VerifiedEvent::from_value(&event).unwrap().pubkey(), key.pubkey());
            let theirs: serde_json::Value = serde_json::from_str(&other.sign(1, &[], "", NOW, [0; 32])).unwrap();
            event["sig"] = theirs["sig"].clone();
            prop_assert!(key == other || VerifiedEvent::from_value(&event) == Err(InvalidEvent::Signature));
        }
    }
}
