//! Identity tokens: a client sends one instead of signing every request.

use crate::secret::MacKey;
use crate::{NostrPubkey, Secret, Secrets};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_label::{Label, Vocabulary};

const PURPOSE: &str = "tithe identity token v1";
const VERSION: &str = "v1.";
/// The maximum length of a token text. Tokens issued by this server are shorter.
const LENGTH_MAX: usize = 512;
/// How far the clock of another server, which issued a token, may be ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

/// A bearer token for an identity, with its expiry time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityToken {
    /// The token text.
    pub text: String,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// The reason why a token is rejected. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// The text does not have the form of a token.
    #[error("malformed identity token: expected `v1.<payload>.<signature>`")]
    Malformed,
    /// None of our secrets has the token's key id.
    #[error("unknown identity token key: not signed by this server; log in again")]
    UnknownSecret,
    /// The signature does not match the payload.
    #[error("invalid identity token signature: log in again")]
    Altered,
    /// The token was issued for another service.
    #[error("wrong identity token audience: not issued for this service; log in again")]
    OtherAudience,
    /// The token has expired.
    #[error("identity token expired at {at}: log in again")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// The issue time is further in the future than clocks may differ.
    #[error("identity token not valid yet: issued at {issued_at}")]
    FromTheFuture {
        /// The token's issue time.
        issued_at: Timestamp,
    },
}

/// The vocabulary of audiences. No name is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceNames;

impl Vocabulary for AudienceNames {
    const RESERVED: &'static [&'static str] = &[];
}

/// The name of the service that a token is for, such as `tithe`. Services that share a secret must have different names.
pub type Audience = Label<AudienceNames>;

/// Issues and verifies identity tokens.
///
/// A token is `v1.<payload>.<HMAC-SHA-256>`, both in base64url without padding; the payload is
/// `{"pubkey":"<hex>","iat":<unix seconds>,"exp":<unix seconds>,"aud":"<service>","kid":"<8 hex digits>"}`. The key id identifies the
/// signing secret without revealing anything about it. Verification runs on every request and allocates nothing.
#[derive(Debug, Clone)]
pub struct IdentityTokens {
    first: Key,
    others: Vec<Key>,
    audience: Audience,
    life: Duration,
}

/// A secret, prepared for signing.
#[derive(Debug, Clone)]
struct Key {
    id: [u8; 8],
    mac: MacKey,
}

/// The payload of a token.
#[derive(Deserialize)]
struct Payload<'a> {
    pubkey: &'a str,
    iat: i64,
    exp: i64,
    #[serde(default)]
    aud: &'a str,
    kid: &'a str,
}

impl IdentityTokens {
    /// Tokens for the service `audience`, with a lifetime of `life`, in whole seconds. Tokens of another audience are refused,
    /// even if they are signed with the same secret.
    #[must_use]
    pub fn new(secrets: &Secrets, audience: Audience, life: Duration) -> Self {
        let others = secrets.iter().skip(1).map(Key::new).collect();
        Self { first: Key::new(secrets.first()), others, audience, life }
    }

    /// Issues a token to a client that has authenticated as `pubkey`.
    #[must_use]
    pub fn issue(&self, pubkey: NostrPubkey, now: Timestamp) -> IdentityToken {
        let (iat, exp) = (now.unix_seconds(), (now + self.life).unix_seconds());
        let (aud, kid) = (self.audience, String::from_utf8_lossy(&self.first.id));
        let payload =
            format!(r#"{{"pubkey":"{pubkey}","iat":{iat},"exp":{exp},"aud":"{aud}","kid":"{kid}"}}"#);
        let mut text = String::from(VERSION);
        URL_SAFE_NO_PAD.encode_string(payload, &mut text);
        let tag = self.first.mac.tag(text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut text);
        IdentityToken { text, expires_at: at(exp).unwrap_or(now) }
    }

    /// Verifies a token and returns the identity it was issued to.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn verify(&self, text: &str, now: Timestamp) -> Result<NostrPubkey, InvalidToken> {
        if text.len() > LENGTH_MAX {
            return Err(InvalidToken::Malformed);
        }
        let (signed, tag) = text.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
        let payload = signed.strip_prefix(VERSION).ok_or(InvalidToken::Malformed)?;
        // The decoder needs a buffer for whole groups of three bytes.
        let (mut payload_room, mut tag_room) = ([0; LENGTH_MAX], [0; 33]);
        let payload = decode(payload, &mut payload_room)?;
        let tag = decode(tag, &mut tag_room)?;
        let payload: Payload<'_> = serde_json::from_slice(payload).map_err(|_| InvalidToken::Malformed)?;
        self.check_tag(signed, tag, payload.kid)?;
        if payload.aud != self.audience.as_str() {
            return Err(InvalidToken::OtherAudience);
        }
        // From here on the payload is trusted: this server has written it.
        let exp = at(payload.exp).ok_or(InvalidToken::Malformed)?;
        let iat = at(payload.iat).ok_or(InvalidToken::Malformed)?;
        if now >= exp {
            return Err(InvalidToken::Expired { at: exp });
        }
        if iat > now + CLOCKS_DIFFER {
            return Err(InvalidToken::FromTheFuture { issued_at: iat });
        }
        NostrPubkey::restore(payload.pubkey).map_err(|_| InvalidToken::Malformed)
    }

    /// Returns true if a secret with this key id signed the token; several secrets may share a key id by chance.
    fn check_tag(&self, signed: &str, tag: &[u8], kid: &str) -> Result<(), InvalidToken> {
        if tag.len() != 32 {
            return Err(InvalidToken::Malformed);
        }
        let mut known = false;
        for key in std::iter::once(&self.first).chain(&self.others) {
            if key.id == kid.as_bytes() {
                known = true;
                if key.mac.is_tag(signed.as_bytes(), tag) {
                    return Ok(());
                }
            }
        }
        Err(if known { InvalidToken::Altered } else { InvalidToken::UnknownSecret })
    }
}

impl Key {
    fn new(secret: &Secret) -> Self {
        let [a, b, c, d, ..] = MacKey::new(secret, "tithe identity token key id v1").tag(b"");
        let mut id = [0; 8];
        // Eight digits always fit: the only possible error is a buffer of the wrong size.
        let _ = hex::encode_to_slice([a, b, c, d], &mut id);
        Self { id, mac: MacKey::new(secret, PURPOSE) }
    }
}

/// Decodes base64url without padding, accepting only canonical encodings.
fn decode<'a>(text: &str, room: &'a mut [u8]) -> Result<&'a [u8], InvalidToken> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, room).map_err(|_| InvalidToken::Malformed)?;
    room.get(..length).ok_or(InvalidToken::Malformed)
}

fn at(unix_seconds: i64) -> Option<Timestamp> {
    Timestamp::from_unix_micros(unix_seconds.checked_mul(1_000_000)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, alice, secret, secrets};
    use proptest::prelude::*;

    const LIFE: Duration = Duration::from_hours(24);
    const MICRO: Duration = Duration::from_micros(1);

    fn tokens() -> IdentityTokens {
        IdentityTokens::new(&secrets(), OURS, LIFE)
    }

    const OURS: Audience = Audience::literal("tithe");

    fn token() -> String {
        tokens().issue(alice().pubkey(), NOW).text
    }

    /// A token with this `payload`, signed by us for `purpose`.
    fn signed(payload: &str, purpose: &str) -> String {
        let text = format!("v1.{}", URL_SAFE_NO_PAD.encode(payload));
        let tag = MacKey::new(secrets().first(), purpose).tag(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn payload(pubkey: &str, iat: i64, exp: i64) -> String {
        let kid = String::from_utf8(tokens().first.id.to_vec()).unwrap();
        format!(r#"{{"pubkey":"{pubkey}","iat":{iat},"exp":{exp},"aud":"tithe","kid":"{kid}"}}"#)
    }

    #[test]
    fn a_token_says_who_until_when_and_with_which_secret() {
        let token = tokens().issue(alice().pubkey(), NOW + MICRO * 999_999);
        assert_eq!(token.expires_at, NOW + LIFE);
        let parts: Vec<&str> = token.text.split('.').collect();
        let [version, body, tag] = parts[..] else { panic!("{parts:?}") };
        let body = String::from_utf8(URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
        assert_eq!(version, "v1");
        assert_eq!(body, payload(&alice().pubkey().to_string(), 1_769_860_800, 1_769_947_200));
        assert_eq!(URL_SAFE_NO_PAD.decode(tag).unwrap().len(), 32);
        assert_eq!(token.text, signed(&body, PURPOSE));
        assert!(token.text.len() <= LENGTH_MAX, "{}", token.text.len());
    }

    #[test]
    fn a_token_is_taken_until_it_expires_to_the_microsecond() {
        let token = tokens().issue(alice().pubkey(), NOW + MICRO * 7);
        let end = token.expires_at;
        for at in [NOW, NOW + MICRO * 7, end - MICRO] {
            assert_eq!(tokens().verify(&token.text, at), Ok(alice().pubkey()));
        }
        for at in [end, end + MICRO, end + LIFE * 1_000] {
            assert_eq!(tokens().verify(&token.text, at), Err(InvalidToken::Expired { at: end }));
        }
        let error = tokens().verify(&token.text, end).unwrap_err();
        assert_eq!(error.to_string(), "identity token expired at 2026-02-01T12:00:00.000000Z: log in again");
    }

    #[test]
    fn a_token_of_another_servers_clock_is_taken_five_minutes_early_and_no_more() {
        let early = NOW - CLOCKS_DIFFER;
        assert_eq!(tokens().verify(&token(), early), Ok(alice().pubkey()));
        let error = Err(InvalidToken::FromTheFuture { issued_at: NOW });
        assert_eq!(tokens().verify(&token(), early - MICRO), error);
    }

    #[test]
    fn a_token_with_any_bit_flipped_is_refused() {
        let token = token();
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8_lossy(&flipped);
            assert!(tokens().verify(&flipped, NOW).is_err(), "bit {bit}: {flipped}");
        }
    }

    #[test]
    fn a_token_cut_or_extended_anywhere_is_refused() {
        let token = token();
        for at in 0..token.len() {
            assert!(tokens().verify(&token[..at], NOW).is_err(), "{at}");
            assert!(tokens().verify(&token[at + 1..], NOW).is_err(), "{at}");
        }
        for more in ["=", "A", ".", " ", "\n", "\0", "é"] {
            assert!(tokens().verify(&format!("{token}{more}"), NOW).is_err(), "{more:?}");
            assert!(tokens().verify(&format!("{more}{token}"), NOW).is_err(), "{more:?}");
        }
    }

    #[test]
    fn a_token_is_written_in_one_way_only() {
        let token = token();
        let (signed, tag) = token.rsplit_once('.').unwrap();
        // The last digit of 32 bytes carries four bits; the two below must be zero.
        let last = tag.chars().last().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
        let same_bytes = format!("{signed}.{}{next}", &tag[..tag.len() - 1]);
        assert_eq!(tokens().verify(&same_bytes, NOW), Err(InvalidToken::Malformed));
        assert_eq!(tokens().verify(&format!("{token}="), NOW), Err(InvalidToken::Malformed));
        // A different text for the same payload; the MAC covers the text.
        let padded = signed.replace("v1.", "v1.=");
        assert_eq!(tokens().verify(&format!("{padded}.{tag}"), NOW), Err(InvalidToken::Malformed));
        for wrong in ["V1.", "v2.", "v1", ""] {
            assert!(tokens().verify(&token.replace("v1.", wrong), NOW).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rotated_secret_checks_and_a_retired_one_does_not() {
        let (old, new) = (secret("old"), secret("new"));
        let with =
            |first: &Secret, others| IdentityTokens::new(&Secrets::new(first.clone(), others), OURS, LIFE);
        let token = with(&old, vec![]).issue(alice().pubkey(), NOW).text;
        let rotated = with(&new, vec![secret("x"), old.clone()]);
        assert_eq!(rotated.verify(&token, NOW), Ok(alice().pubkey()));
        let retired = with(&new, vec![secret("x")]);
        assert_eq!(retired.verify(&token, NOW), Err(InvalidToken::UnknownSecret));
        let newer = rotated.issue(alice().pubkey(), NOW).text;
        assert_eq!(retired.verify(&newer, NOW), Ok(alice().pubkey()));
        assert_eq!(with(&old, vec![]).verify(&newer, NOW), Err(InvalidToken::UnknownSecret));
    }

    #[test]
    fn secrets_that_share_a_key_id_by_chance_are_all_tried() {
        let mut both = IdentityTokens::new(
            &Secrets::new(secret("new"), vec![Secret::new([1; 32]).unwrap()]),
            OURS,
            LIFE,
        );
        both.first.id = both.others[0].id;
        assert_eq!(both.verify(&token(), NOW), Ok(alice().pubkey()));
        let newer = both.issue(alice().pubkey(), NOW).text;
        assert_eq!(both.verify(&newer, NOW), Ok(alice().pubkey()));
        assert_eq!(tokens().verify(&newer, NOW), Err(InvalidToken::Altered));
    }

    #[test]
    fn a_token_of_another_service_with_the_same_secret_is_refused() {
        let theirs = IdentityTokens::new(&secrets(), Audience::literal("transcripts"), LIFE);
        let token = theirs.issue(alice().pubkey(), NOW).text;
        assert_eq!(theirs.verify(&token, NOW), Ok(alice().pubkey()));
        assert_eq!(tokens().verify(&token, NOW), Err(InvalidToken::OtherAudience));
        assert_eq!(theirs.verify(&self::token(), NOW), Err(InvalidToken::OtherAudience));
        let without = payload(&alice().pubkey().to_string(), 1_769_860_800, 1_769_947_200);
        let without = without.replace(r#""aud":"tithe","#, "");
        assert_eq!(tokens().verify(&signed(&without, PURPOSE), NOW), Err(InvalidToken::OtherAudience));
    }

    #[test]
    fn a_mac_for_another_purpose_signs_no_token() {
        let body = payload(&alice().pubkey().to_string(), 1_769_860_800, 1_769_947_200);
        assert_eq!(tokens().verify(&signed(&body, PURPOSE), NOW), Ok(alice().pubkey()));
        for purpose in ["tithe challenge v1", "tithe job claim v1", "", "tithe identity token v1\0"] {
            assert_eq!(
                tokens().verify(&signed(&body, purpose), NOW),
                Err(InvalidToken::Altered),
                "{purpose}"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_told_so() {
        let long = "A".repeat(LENGTH_MAX);
        let bare = format!("v1.{}.{}", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode([0; 32]));
        for wrong in
            ["", ".", "..", "v1.", "v1..", "v1.e30.", "é", "Bearer x", &long, &format!("v1.{long}"), &bare]
        {
            assert_eq!(tokens().verify(wrong, NOW), Err(InvalidToken::Malformed), "{wrong:?}");
        }
        // Valid except for its length.
        let body = payload(&alice().pubkey().to_string(), 1_769_860_800, 1_769_947_200);
        let spaced = |spaces| signed(&format!("{body}{}", " ".repeat(spaces)), PURPOSE);
        assert_eq!(tokens().verify(&spaced(180), NOW), Ok(alice().pubkey()));
        assert_eq!(tokens().verify(&spaced(250), NOW), Err(InvalidToken::Malformed));
    }

    #[test]
    fn no_debug_shows_a_secret() {
        let tokens = IdentityTokens::new(&Secrets::new(secret("hunter2"), vec![]), OURS, LIFE);
        assert!(!format!("{tokens:?}").contains("hunter"), "{tokens:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(text in "\\PC*", body in ".*", tag in any::<[u8; 32]>()) {
            let made = format!("v1.{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(tag));
            prop_assert!(tokens().verify(&text, NOW).is_err());
            prop_assert!(tokens().verify(&made, NOW).is_err());
        }

        /// Any payload signed by our secret is handled without a panic.
        #[test]
        fn any_signed_payload_is_judged(iat in any::<i64>(), exp in any::<i64>(), pubkey in "[0-9a-fA-F]{60,66}|.*") {
            let verified = tokens().verify(&signed(&payload(&pubkey, iat, exp), PURPOSE), NOW);
            prop_assert!(exp > 1_769_860_800 || verified.is_err());
        }

        #[test]
        fn what_is_issued_is_verified(bytes in any::<[u8; 32]>(), seconds in 1_u64..1_000_000_000) {
            let pubkey = NostrPubkey::restore(&hex::encode(bytes)).unwrap();
            let tokens = IdentityTokens::new(&secrets(), OURS, Duration::from_secs(seconds));
            let token = tokens.issue(pubkey, NOW);
            prop_assert_eq!(token.expires_at, NOW + Duration::from_secs(seconds));
            prop_assert_eq!(tokens.verify(&token.text, NOW), Ok(pubkey));
        }
    }
}
