//! Macaroons: credentials that their holders can narrow.

use crate::chain::Signature;
use crate::format::{self, FormatError, Parts};
use crate::{Caveat, InvalidCaveat, KeyId, RootKey, Verified};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fmt;
use std::str::FromStr;

/// A macaroon in the format of libmacaroons, version 2, with caveats that this server checks itself.
///
/// Its holder can [`narrow`](Macaroon::narrow) it, without the server, and hand the narrowed one on. It is a secret:
/// `Debug` shows neither its signature nor its text. Nothing in it may be trusted before
/// [`verify`](Macaroon::verify) has accepted it, and its location never: it is a hint, which the signature doesn't cover.
#[derive(Clone)]
pub struct Macaroon(Parts);

impl Macaroon {
    /// The maximum length of the text, in bytes.
    pub const TEXT_MAX: usize = 1024;
    /// The maximum number of caveats.
    pub const CAVEATS_MAX: usize = 32;
    /// The maximum length of the binary form: [`Macaroon::TEXT_MAX`] bytes as text.
    const BINARY_MAX: usize = Self::TEXT_MAX / 4 * 3;

    /// Mints a macaroon without caveats.
    ///
    /// `location` says where to present it, for instance as a URL; `identifier` says what it is for, for instance
    /// `session:` and a UUID. Both can be read by every holder.
    ///
    /// # Errors
    /// [`InvalidMacaroon::NoLocation`] if `location` is empty: pymacaroons would narrow the macaroon to an invalid one.
    /// [`InvalidMacaroon::TooLong`] if the text would be too long.
    pub fn mint(root_key: &RootKey, location: &str, identifier: &[u8]) -> Result<Self, InvalidMacaroon> {
        if location.is_empty() {
            return Err(InvalidMacaroon::NoLocation);
        }
        let signature = root_key.sign(identifier);
        let (location, identifier) = (location.to_owned(), identifier.to_vec());
        Self(Parts { location, identifier, caveats: Vec::new(), signature }).within_limits()
    }

    /// Narrows the macaroon by a caveat. Anybody who has the macaroon can do so; nobody can undo it.
    ///
    /// Macaroons narrowed by the same caveats in the same order are one and the same, so they share their
    /// limits. For limits of their own, their first caveats must differ.
    ///
    /// # Errors
    /// [`InvalidMacaroon::TooLong`] and [`InvalidMacaroon::TooManyCaveats`] if the macaroon would pass the limits.
    pub fn narrow(&self, caveat: &Caveat) -> Result<Self, InvalidMacaroon> {
        self.narrow_by_bytes(caveat.to_string().as_bytes())
    }

    pub(crate) fn narrow_by_bytes(&self, caveat: &[u8]) -> Result<Self, InvalidMacaroon> {
        let mut parts = self.0.clone();
        parts.signature = parts.signature.narrow(caveat);
        parts.caveats.push(caveat.to_vec());
        Self(parts).within_limits()
    }

    fn within_limits(self) -> Result<Self, InvalidMacaroon> {
        if self.0.caveats.len() > Self::CAVEATS_MAX {
            return Err(InvalidMacaroon::TooManyCaveats);
        }
        if format::encode(&self.0).len() > Self::BINARY_MAX {
            return Err(InvalidMacaroon::TooLong);
        }
        Ok(self)
    }

    /// Parses the text of a macaroon: base64url, or base64 with the standard alphabet, with or without padding.
    ///
    /// # Errors
    /// [`InvalidMacaroon`].
    pub fn parse(text: &str) -> Result<Self, InvalidMacaroon> {
        if text.len() > Self::TEXT_MAX {
            return Err(InvalidMacaroon::TooLong);
        }
        // Padding is complete or absent.
        let unpadded = text
            .strip_suffix("==")
            .or_else(|| text.strip_suffix('='))
            .filter(|_| text.len().is_multiple_of(4));
        let base64 = if text.contains(['+', '/']) { STANDARD_NO_PAD } else { URL_SAFE_NO_PAD };
        let bytes = base64.decode(unpadded.unwrap_or(text)).map_err(|_| InvalidMacaroon::NotBase64)?;
        let parts = format::decode(&bytes).map_err(|error| match error {
            FormatError::Malformed => InvalidMacaroon::Malformed,
            FormatError::ThirdPartyCaveat => InvalidMacaroon::ThirdPartyCaveat,
        })?;
        Self(parts).within_limits()
    }

    /// The text of the macaroon: base64url without padding.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format::encode(&self.0))
    }

    /// The text of the macaroon in base64's standard alphabet, with padding: what the clients of L402 expect.
    #[must_use]
    pub fn encode_standard(&self) -> String {
        STANDARD.encode(format::encode(&self.0))
    }

    /// Where to present the macaroon: a hint, not covered by the signature; empty if there is none.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// What the macaroon is for, to find its root key with. It is not verified yet.
    #[must_use]
    pub fn identifier(&self) -> &[u8] {
        &self.0.identifier
    }

    /// The id of the macaroon's own key, the last of [`Verified::keys`], by which it can be revoked.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.0.signature)
    }

    /// Verifies the macaroon. The signature comes first, in constant time; the caveats are not even parsed if it is
    /// wrong.
    ///
    /// # Errors
    /// [`VerifyError::Signature`] if `root_key` didn't mint the macaroon or it was altered; [`VerifyError::Caveat`] if
    /// any caveat is unknown or malformed.
    pub fn verify(&self, root_key: &RootKey) -> Result<Verified, VerifyError> {
        let first = root_key.sign(&self.0.identifier);
        let mut keys = Vec::with_capacity(self.0.caveats.len());
        let mut signature: Signature = first.clone();
        for caveat in &self.0.caveats {
            signature = signature.narrow(caveat);
            keys.push(KeyId::of(&signature));
        }
        if !signature.is(&self.0.signature) {
            return Err(VerifyError::Signature);
        }
        let caveats = self.0.caveats.iter().map(Vec::as_slice);
        Ok(Verified::new(self.0.identifier.clone(), KeyId::of(&first), caveats.zip(keys))?)
    }

    /// Verifies the macaroon with each of the root keys, which were derived from several server secrets, so that a
    /// secret can be rotated: the first mints, all of them verify.
    ///
    /// # Errors
    /// Those of [`verify`](Macaroon::verify); [`VerifyError::Signature`] if there is no root key at all.
    pub fn verify_any(&self, root_keys: &[RootKey]) -> Result<Verified, VerifyError> {
        for root_key in root_keys {
            match self.verify(root_key) {
                Err(VerifyError::Signature) => {}
                verified => return verified,
            }
        }
        Err(VerifyError::Signature)
    }
}

impl FromStr for Macaroon {
    type Err = InvalidMacaroon;
    fn from_str(text: &str) -> Result<Self, InvalidMacaroon> {
        Self::parse(text)
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caveats: Vec<_> = self.0.caveats.iter().map(|caveat| String::from_utf8_lossy(caveat)).collect();
        f.debug_struct("Macaroon")
            .field("location", &self.0.location)
            .field("identifier", &String::from_utf8_lossy(&self.0.identifier))
            .field("caveats", &caveats)
            .finish_non_exhaustive()
    }
}

/// The reason why there is no such macaroon. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMacaroon {
    /// The text is too long.
    #[error("macaroon too long: expected at most {} bytes of text", Macaroon::TEXT_MAX)]
    TooLong,
    /// There are too many caveats.
    #[error("too many caveats: expected at most {}", Macaroon::CAVEATS_MAX)]
    TooManyCaveats,
    /// The text is not base64.
    #[error("invalid macaroon: expected base64url")]
    NotBase64,
    /// The bytes are not a macaroon.
    #[error("invalid macaroon: expected the binary format of libmacaroons, version 2")]
    Malformed,
    /// The macaroon has a caveat that a third party would have to discharge.
    #[error("unsupported caveat: expected first-party caveats only, got a third-party caveat")]
    ThirdPartyCaveat,
    /// The macaroon would have no location.
    #[error("missing location: expected where to present the macaroon")]
    NoLocation,
}

/// The reason why a macaroon is refused. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature is wrong: the macaroon was altered, or its root key is not one of ours.
    #[error("invalid macaroon: wrong signature")]
    Signature,
    /// The signature is right, but a caveat is unknown or malformed.
    #[error(transparent)]
    Caveat(#[from] InvalidCaveat),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, testing};
    use base64::engine::general_purpose::URL_SAFE;
    use proptest::prelude::*;
    use tithe_money::Msats;

    const SECRET: &[u8] = b"a secret of the server";
    const SESSION: &[u8] = b"session:00000000-0000-0000-0000-000000000000";

    fn root_key() -> RootKey {
        RootKey::derive(SECRET, SESSION)
    }

    fn minted() -> Macaroon {
        Macaroon::mint(&root_key(), "https://tithe.example", SESSION).unwrap()
    }

    fn narrowed(caveats: &[Caveat]) -> Macaroon {
        caveats.iter().fold(minted(), |macaroon, caveat| macaroon.narrow(caveat).unwrap())
    }

    fn requests(limit: u64) -> Caveat {
        Limit::Requests(limit).into()
    }

    /// From the README and the tests of libmacaroons.
    #[test]
    fn known_macaroons_are_minted_and_verified() {
        let key = RootKey::from_bytes(b"this is our super secret key; only we should know it");
        let macaroon = Macaroon::mint(&key, "http://mybank/", b"we used our secret key").unwrap();
        let hex = "e3d9e02908526c4c0039ae15114115d97fdd68bf2ba379b342aaf0f617d0552f";
        assert_eq!(hex::encode(macaroon.0.signature.0), hex);
        assert!(macaroon.verify(&key).is_ok());
        let macaroon = macaroon.narrow_by_bytes(b"test = caveat").unwrap();
        let hex = "197bac7a044af33332865b9266e26d493bdd668a660e44d88ce1a998c23dbd67";
        assert_eq!(hex::encode(macaroon.0.signature.0), hex);
        // The signature is right, and the caveat is not one of ours.
        assert_eq!(macaroon.verify(&key), Err(VerifyError::Caveat(InvalidCaveat::Unknown)));
    }

    #[test]
    fn a_macaroon_is_read_in_both_alphabets_with_and_without_padding() {
        let mut macaroon = minted();
        // A signature whose text has the two digits in which the alphabets differ.
        macaroon.0.signature = Signature([0xfb; 32]);
        let bytes = format::encode(&macaroon.0);
        for engine in [URL_SAFE, URL_SAFE_NO_PAD, STANDARD, STANDARD_NO_PAD] {
            let text = engine.encode(&bytes);
            assert_eq!(Macaroon::parse(&text).unwrap().encode(), macaroon.encode(), "{text}");
        }
        assert_eq!(macaroon.encode_standard(), STANDARD.encode(&bytes));
        let text = macaroon.encode();
        assert_eq!(text, URL_SAFE_NO_PAD.encode(&bytes));
        let mixed = text.replacen('-', "+", 1);
        let padded = URL_SAFE.encode(&bytes);
        assert!(padded.ends_with("=="), "{padded}");
        let partly_padded = &padded[..padded.len() - 1];
        let not_canonical = format!("{}x", &text[..text.len() - 1]);
        let more = ["=", "==", "===", "====", " ", "\n"].map(|more| format!("{padded}{more}"));
        let wrong = [&mixed, partly_padded, &not_canonical, "é", "*", "=", "==", "===="];
        for wrong in wrong.into_iter().chain(more.iter().map(String::as_str)) {
            assert_eq!(Macaroon::parse(wrong).unwrap_err(), InvalidMacaroon::NotBase64, "{wrong}");
        }
        for wrong in ["", "AA", "Ag", "AgEA"] {
            assert_eq!(wrong.parse::<Macaroon>().unwrap_err(), InvalidMacaroon::Malformed, "{wrong}");
        }
    }

    #[test]
    fn a_macaroon_has_at_most_32_caveats() {
        let full = (0..32).fold(minted(), |macaroon, _| macaroon.narrow(&requests(1)).unwrap());
        assert!(full.verify(&root_key()).is_ok());
        assert!(Macaroon::parse(&full.encode()).is_ok());
        assert_eq!(full.narrow(&requests(1)).unwrap_err(), InvalidMacaroon::TooManyCaveats);
        // As another implementation would make it.
        let mut parts = full.0;
        parts.caveats = vec![vec![]; 33];
        let text = URL_SAFE_NO_PAD.encode(format::encode(&parts));
        assert!(text.len() < Macaroon::TEXT_MAX);
        assert_eq!(Macaroon::parse(&text).unwrap_err(), InvalidMacaroon::TooManyCaveats);
    }

    #[test]
    fn a_macaroon_is_at_most_1024_bytes_of_text() {
        let of_length = |length| Macaroon::mint(&root_key(), "at", &vec![b'i'; length]);
        // 768 bytes less the version, the location, the packet's head, two ends of sections and the signature.
        let longest = of_length(768 - 1 - 4 - 3 - 2 - 34).unwrap();
        assert_eq!(longest.encode().len(), Macaroon::TEXT_MAX);
        assert_eq!(Macaroon::parse(&longest.encode()).unwrap().encode(), longest.encode());
        assert_eq!(of_length(768 - 1 - 4 - 3 - 2 - 34 + 1).unwrap_err(), InvalidMacaroon::TooLong);
        assert_eq!(longest.narrow(&requests(1)).unwrap_err(), InvalidMacaroon::TooLong);
        assert_eq!(Macaroon::parse(&"A".repeat(1025)).unwrap_err(), InvalidMacaroon::TooLong);
    }

    #[test]
    fn a_macaroon_is_minted_with_a_location() {
        assert_eq!(Macaroon::mint(&root_key(), "", SESSION).unwrap_err(), InvalidMacaroon::NoLocation);
        let mut without = minted();
        without.0.location = String::new();
        let read = Macaroon::parse(&without.encode()).unwrap();
        assert_eq!(read.location(), "");
        assert!(read.verify(&root_key()).is_ok());
    }

    #[test]
    fn a_third_party_caveat_is_refused() {
        let mut bytes = format::encode(&minted().0);
        let end = bytes.len() - 35;
        bytes.splice(end..end, *b"\x01\x01l\x02\x01c\x04\x01v\0");
        let refused = Macaroon::parse(&URL_SAFE_NO_PAD.encode(bytes)).unwrap_err();
        assert_eq!(refused, InvalidMacaroon::ThirdPartyCaveat);
    }

    #[test]
    fn no_debug_shows_a_macaroon() {
        let macaroon = narrowed(&[requests(7)]);
        let shown = format!("{macaroon:?}");
        let expected = "Macaroon { location: \"https://tithe.example\", identifier: \
                        \"session:00000000-0000-0000-0000-000000000000\", caveats: [\"max_requests=7\"], .. }";
        assert_eq!(shown, expected);
    }

    /// The caveats are not parsed: their error would say that the signature is right.
    #[test]
    fn the_signature_is_checked_before_the_caveats() {
        let macaroon = minted().narrow_by_bytes(b"colour=blue").unwrap();
        assert_eq!(macaroon.verify(&root_key()), Err(VerifyError::Caveat(InvalidCaveat::Unknown)));
        let mut altered = macaroon.clone();
        altered.0.signature.0[31] ^= 1;
        assert_eq!(altered.verify(&root_key()), Err(VerifyError::Signature));
    }

    #[test]
    fn one_unknown_or_malformed_caveat_among_good_ones_refuses() {
        for wrong in [&b"colour=blue"[..], b"max_requests=01", b"model=", b"", b"\xff", b"max_requests = 1"] {
            let first = minted().narrow_by_bytes(wrong).unwrap().narrow(&requests(1)).unwrap();
            let last = minted().narrow(&requests(1)).unwrap().narrow_by_bytes(wrong).unwrap();
            for macaroon in [first, last] {
                assert!(matches!(macaroon.verify(&root_key()), Err(VerifyError::Caveat(_))), "{macaroon:?}");
            }
        }
    }

    #[test]
    fn a_rotated_secret_verifies_and_a_retired_one_does_not() {
        let old = minted();
        let derive = |secret: &[u8]| RootKey::derive(secret, SESSION);
        let new = derive(b"the next secret");
        let rotated = [new.clone(), derive(b"another"), root_key()];
        assert_eq!(old.verify_any(&rotated), old.verify(&root_key()));
        assert_eq!(old.verify_any(&rotated[..2]), Err(VerifyError::Signature));
        assert_eq!(old.verify_any(&[]), Err(VerifyError::Signature));
        let newer = Macaroon::mint(&new, "https://tithe.example", SESSION).unwrap();
        assert!(newer.verify_any(&rotated).is_ok());
        assert_eq!(newer.verify(&root_key()), Err(VerifyError::Signature));
        // A caveat that is refused is no reason to try the other secrets.
        let unknown = old.narrow_by_bytes(b"colour=blue").unwrap();
        let refused = Err(VerifyError::Caveat(InvalidCaveat::Unknown));
        assert_eq!(unknown.verify_any(&rotated), refused);
    }

    #[test]
    fn children_share_the_keys_of_their_parent() {
        let limit = |msats| Caveat::from(Limit::Total(Msats::new(msats).unwrap()));
        let parent = narrowed(&[limit(100)]);
        let (alice, bob) = (parent.narrow(&limit(10)).unwrap(), parent.narrow(&limit(20)).unwrap());
        let keys = |macaroon: &Macaroon| macaroon.verify(&root_key()).unwrap().keys().to_vec();
        assert_eq!(keys(&alice)[..2], keys(&parent));
        assert_eq!(keys(&bob)[..2], keys(&parent));
        assert_ne!(keys(&alice)[2].id, keys(&bob)[2].id);
        assert_eq!(keys(&minted()), [crate::Key { id: minted().key_id(), limit: None }]);
        let limits: Vec<_> = keys(&alice).iter().map(|key| key.limit).collect();
        assert_eq!(limits, [0, 100, 10].map(|n| (n > 0).then(|| Limit::Total(Msats::new(n).unwrap()))));
        for macaroon in [&parent, &alice, &bob] {
            assert_eq!(keys(macaroon).last().unwrap().id, macaroon.key_id());
        }
        // The same caveat again is another key, and the same macaroon is the same.
        assert_ne!(parent.narrow(&limit(100)).unwrap().key_id(), parent.key_id());
        assert_eq!(parent.narrow(&limit(10)).unwrap().key_id(), alice.key_id());
    }

    fn caveats() -> impl Strategy<Value = Vec<Caveat>> {
        prop::collection::vec(testing::caveat(), 0..6)
    }

    /// Returns true for the bytes of the location in the binary form; the version, the type and the length come first.
    fn is_in_location(byte: usize, macaroon: &Macaroon) -> bool {
        (3..3 + macaroon.location().len()).contains(&byte)
    }

    #[test]
    fn a_macaroon_with_any_bit_flipped_is_refused() {
        let macaroon = narrowed(&[requests(7), Caveat::models(["a", "b"]).unwrap()]);
        let verified = macaroon.verify(&root_key()).unwrap();
        let bytes = format::encode(&macaroon.0);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let judged =
                Macaroon::parse(&URL_SAFE_NO_PAD.encode(flipped)).map(|flipped| flipped.verify(&root_key()));
            if is_in_location(bit / 8, &macaroon) {
                // A hint that nothing depends on.
                assert!(judged.is_err() || judged == Ok(Ok(verified.clone())), "bit {bit}");
            } else {
                assert!(!matches!(judged, Ok(Ok(_))), "bit {bit}: {judged:?}");
            }
        }
    }

    #[test]
    fn a_macaroon_cut_or_extended_anywhere_is_refused() {
        let text = narrowed(&[requests(7), requests(8)]).encode();
        let is_accepted =
            |text: &str| Macaroon::parse(text).is_ok_and(|read| read.verify(&root_key()).is_ok());
        assert!(is_accepted(&text));
        for at in 0..text.len() {
            assert!(!is_accepted(&text[..at]), "{at}");
            assert!(!is_accepted(&text[at + 1..]), "{at}");
        }
        for more in ["A", "AA", "AAA", "AAAA", " ", "\n", "\0", "é", "."] {
            assert!(!is_accepted(&format!("{text}{more}")), "{more:?}");
            assert!(!is_accepted(&format!("{more}{text}")), "{more:?}");
        }
    }

    #[test]
    fn a_caveat_left_out_or_moved_is_refused() {
        let macaroon = narrowed(&[requests(1), requests(2), requests(3)]);
        for at in 0..3 {
            let mut without = macaroon.clone();
            without.0.caveats.remove(at);
            assert_eq!(without.verify(&root_key()), Err(VerifyError::Signature), "{at}");
            let mut moved = macaroon.clone();
            moved.0.caveats.swap(at, (at + 1) % 3);
            assert_eq!(moved.verify(&root_key()), Err(VerifyError::Signature), "{at}");
            let mut doubled = macaroon.clone();
            doubled.0.caveats.insert(at, requests(9).to_string().into_bytes());
            assert_eq!(doubled.verify(&root_key()), Err(VerifyError::Signature), "{at}");
        }
        let mut other = macaroon;
        other.0.identifier = b"session:11111111-1111-1111-1111-111111111111".to_vec();
        assert_eq!(other.verify(&root_key()), Err(VerifyError::Signature));
        assert_eq!(other.verify(&RootKey::derive(SECRET, other.identifier())), Err(VerifyError::Signature));
    }

    proptest! {
        #[test]
        fn what_is_minted_and_narrowed_is_read_and_verified(caveats in caveats()) {
            let macaroon = narrowed(&caveats);
            let read = Macaroon::parse(&macaroon.encode()).unwrap();
            prop_assert_eq!(read.encode(), macaroon.encode());
            prop_assert_eq!((read.location(), read.identifier()), (macaroon.location(), SESSION));
            let verified = read.verify(&root_key()).unwrap();
            prop_assert_eq!(verified.caveats(), caveats.as_slice());
            prop_assert_eq!(verified.identifier(), SESSION);
            prop_assert_eq!(verified.keys().len(), caveats.len() + 1);
        }

        #[test]
        fn a_macaroon_with_any_byte_changed_is_refused(caveats in caveats(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let macaroon = narrowed(&caveats);
            let mut bytes = format::encode(&macaroon.0);
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte && !is_in_location(at, &macaroon));
            bytes[at] = byte;
            let judged = Macaroon::parse(&URL_SAFE_NO_PAD.encode(bytes)).map(|altered| altered.verify(&root_key()));
            prop_assert!(!matches!(judged, Ok(Ok(_))));
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC*", base64 in "Ag[A-Za-z0-9_-]{0,100}") {
            prop_assert!(Macaroon::parse(&text).is_err());
            let _ = Macaroon::parse(&base64).map(|macaroon| macaroon.verify(&root_key()));
        }

        /// Whatever a child allows, at any time and for any model, its parent allows.
        #[test]
        fn a_narrowed_macaroon_never_allows_what_its_parent_refuses(
            caveats in caveats(), more in caveats(), hours in 0_u64..110, model in prop::sample::select(vec!["a", "b/1", "c:2", "d@3", "e"]),
        ) {
            let parent = narrowed(&caveats).verify(&root_key()).unwrap();
            let child = narrowed(&[caveats, more].concat()).verify(&root_key()).unwrap();
            let now = tithe_clock::Timestamp::UNIX_EPOCH + std::time::Duration::from_hours(hours);
            prop_assert!(child.is_expired(now) || !parent.is_expired(now));
            prop_assert!(!child.allows_model(model) || parent.allows_model(model));
            // A request counts against all keys, so it is within the parent's limits if it is within the child's.
            prop_assert!(child.keys().starts_with(parent.keys()));
        }

        /// The caveats hold each on its own, whatever their order.
        #[test]
        fn every_caveat_must_hold(caveats in caveats(), hours in 0_u64..110, model in prop::sample::select(vec!["a", "b/1", "c:2", "d@3", "e"])) {
            let now = tithe_clock::Timestamp::UNIX_EPOCH + std::time::Duration::from_hours(hours);
            let verified = narrowed(&caveats).verify(&root_key()).unwrap();
            let expired = caveats.iter().any(|caveat| matches!(caveat, Caveat::Expires(expiry) if now >= expiry.timestamp()));
            let allows = |caveat: &Caveat| match caveat {
                Caveat::Models(models) => models.iter().any(|name| name == model),
                _ => true,
            };
            prop_assert_eq!(verified.is_expired(now), expired);
            prop_assert_eq!(verified.allows_model(model), caveats.iter().all(allows));
            let limits: Vec<_> = verified.keys().iter().skip(1).map(|key| key.limit).collect();
            let expected: Vec<_> = caveats.iter().map(|caveat| match caveat {
                Caveat::Limit(limit) => Some(*limit),
                _ => None,
            }).collect();
            prop_assert_eq!(limits, expected);
        }
    }
}
