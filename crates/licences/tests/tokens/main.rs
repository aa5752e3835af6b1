//! Tokens that were changed, and licences at the edges of their time, as an attacker and as a clock would have them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests do; the exemption for tests does not reach them"
)]

use proptest::prelude::*;
use std::time::Duration;
use tithe_clock::Timestamp;
use tithe_ledger::credits::{InstallId, Plan};
use tithe_licences::uuid::Uuid;
use tithe_licences::{InvalidLicence, Licence, LicenceId, LicenceKeys, SigningKey};

const SECOND: Duration = Duration::from_secs(1);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn accepting(seeds: &[u8]) -> LicenceKeys {
    LicenceKeys::new(seeds.iter().map(|seed| key(*seed).verifying_key()))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(seconds * 1_000_000).unwrap()
}

fn install() -> InstallId {
    InstallId::new(Uuid::from_u128(1))
}

/// A licence of the first key, from second 1000 to second 2000.
fn licence() -> Licence {
    Licence {
        id: LicenceId(Uuid::from_u128(2)),
        install: install(),
        plan: Plan::Pro,
        issued_at: at(1_000),
        expires_at: at(2_000),
        key: key(1).id(),
    }
}

fn token() -> String {
    licence().sign(&key(1)).unwrap()
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_licence_that_was_issued_is_accepted() {
    assert_eq!(accepting(&[1]).verify(&token(), install(), at(1_500)), Ok(licence()));
}

#[test]
fn every_change_of_one_byte_is_refused() {
    let (keys, token) = (accepting(&[1]), token());
    let mut refusals = 0;
    for position in 0..token.len() {
        let before = token.get(..position).unwrap();
        let after = token.get(position + 1..).unwrap();
        for byte in 0..128_u8 {
            let changed = format!("{before}{}{after}", char::from(byte));
            if changed == token {
                continue;
            }
            let refused = keys.authenticate(&changed);
            assert!(refused.is_err(), "byte {byte} at {position} of {token}");
            refusals += 1;
        }
        // One byte fewer, and one more.
        assert!(keys.authenticate(&format!("{before}{after}")).is_err(), "without {position}");
        let more = format!("{before}A{}", token.get(position..).unwrap());
        assert!(keys.authenticate(&more).is_err(), "with one more at {position}");
    }
    assert_eq!(refusals, token.len() * 127);
}

#[test]
fn every_beginning_and_every_end_of_a_token_is_refused() {
    let (keys, token) = (accepting(&[1]), token());
    for length in 0..token.len() {
        let beginning = token.get(..length).unwrap();
        let expected = if length < 3 { InvalidLicence::NotLicence } else { InvalidLicence::Damaged };
        assert_eq!(keys.authenticate(beginning), Err(expected), "{beginning}");
        let end = token.get(token.len() - length..).unwrap();
        assert_eq!(keys.authenticate(end), Err(InvalidLicence::NotLicence), "{end}");
    }
}

#[test]
fn parts_that_are_swapped_missing_or_of_another_licence_are_refused() {
    let (keys, token) = (accepting(&[1]), token());
    let [version, payload, signature] = parts(&token);
    let other = Licence { plan: Plan::Max, ..licence() }.sign(&key(1)).unwrap();
    let [_, other_payload, other_signature] = parts(&other);
    for (text, expected) in [
        (format!("{version}.{signature}.{payload}"), InvalidLicence::Damaged),
        (format!("{payload}.{signature}"), InvalidLicence::NotLicence),
        (format!("{version}.{payload}"), InvalidLicence::Damaged),
        (format!("{version}.{payload}."), InvalidLicence::Damaged),
        (format!("{version}..{signature}"), InvalidLicence::Damaged),
        (format!("{token}.{signature}"), InvalidLicence::Damaged),
        (format!("{token}\n"), InvalidLicence::Damaged),
        (format!(" {token}"), InvalidLicence::NotLicence),
        (format!("V1.{payload}.{signature}"), InvalidLicence::NotLicence),
        (format!("v2.{payload}.{signature}"), InvalidLicence::NotLicence),
        (format!("{version}.{payload}.{other_signature}"), InvalidLicence::BadSignature),
        (format!("{version}.{other_payload}.{signature}"), InvalidLicence::BadSignature),
        (String::new(), InvalidLicence::NotLicence),
        ("v1.ä.ö".to_owned(), InvalidLicence::Damaged),
    ] {
        assert_eq!(keys.authenticate(&text), Err(expected), "{text}");
    }
}

#[test]
fn base64_that_is_not_canonical_is_refused() {
    let keys = accepting(&[1]);
    let token = token();
    let [version, payload, signature] = parts(&token);
    // 64 bytes are 85 digits and 2 bits: the last digit has 4 bits that say nothing.
    let (start, last) = signature.split_at(signature.len() - 1);
    assert!("AQgw".contains(last), "{last}");
    let sloppy = char::from(last.as_bytes().first().unwrap() + 1);
    for text in [
        format!("{version}.{payload}.{start}{sloppy}"),
        format!("{version}.{payload}.{signature}=="),
        format!("{version}.{payload}=.{signature}"),
        format!("{version}.{payload}.{signature}AAAA"),
    ] {
        assert_eq!(keys.authenticate(&text), Err(InvalidLicence::Damaged), "{text}");
    }
}

#[test]
fn a_text_that_is_too_long_is_refused_before_it_is_read() {
    let refused = accepting(&[1]).authenticate(&"v1.".repeat(1_000_000)).unwrap_err();
    assert_eq!(refused, InvalidLicence::TooLong { most: Licence::TOKEN_BYTES_MAX, length: 3_000_000 });
    assert_eq!(refused.to_string(), "not a licence: expected at most 512 bytes, got 3000000");
}

#[test]
fn a_licence_is_valid_until_just_before_it_expires() {
    let (keys, token) = (accepting(&[1]), token());
    let end = licence().expires_at;
    let microsecond = Duration::from_micros(1);
    assert!(keys.verify(&token, install(), end - microsecond).is_ok());
    for now in [end, end + microsecond, Timestamp::MAX] {
        assert_eq!(keys.verify(&token, install(), now), Err(InvalidLicence::Expired { at: end }));
    }
    let expired = InvalidLicence::Expired { at: end }.to_string();
    assert!(expired.contains("1970-01-01T00:33:20"), "{expired}");
}

#[test]
fn a_licence_is_valid_from_five_minutes_before_its_issue_time() {
    let (keys, token) = (accepting(&[1]), token());
    let issued = licence().issued_at;
    let first = issued - Licence::CLOCKS_DIFFER;
    assert!(keys.verify(&token, install(), first).is_ok());
    let early = keys.verify(&token, install(), first - Duration::from_micros(1));
    assert_eq!(early, Err(InvalidLicence::NotYetIssued { at: issued }));
}

#[test]
fn a_licence_of_another_install_is_refused_without_naming_that_install() {
    let keys = accepting(&[1]);
    let other = InstallId::new(Uuid::from_u128(9));
    let refused = keys.verify(&token(), other, at(1_500)).unwrap_err();
    assert_eq!(refused, InvalidLicence::OtherInstall);
    assert!(!refused.to_string().contains(&install().to_string()));
    // Nobody learns from somebody else's token when it expires.
    assert_eq!(keys.verify(&token(), other, at(3_000)), Err(InvalidLicence::OtherInstall));
}

#[test]
fn a_rotated_key_verifies_until_it_is_retired() {
    let old = token();
    let new = Licence { key: key(2).id(), ..licence() }.sign(&key(2)).unwrap();
    let both = accepting(&[2, 1]);
    for token in [&old, &new] {
        assert!(both.verify(token, install(), at(1_500)).is_ok());
    }
    let retired = accepting(&[2]);
    assert!(retired.verify(&new, install(), at(1_500)).is_ok());
    let refused = retired.verify(&old, install(), at(1_500)).unwrap_err();
    assert_eq!(refused, InvalidLicence::UnknownKey { key: key(1).id() });
    assert!(refused.to_string().contains(&key(1).id().to_string()), "{refused}");
    let none = LicenceKeys::default();
    assert!(none.is_empty());
    assert_eq!(none.authenticate(&new), Err(InvalidLicence::UnknownKey { key: key(2).id() }));
}

#[test]
fn a_licence_that_names_our_key_but_is_signed_by_another_is_refused() {
    // A forger knows the id of our key.
    let forged = Licence { key: key(3).id(), ..licence() }.sign(&key(3)).unwrap();
    let [version, _, signature] = parts(&forged);
    let token = token();
    let [_, payload, _] = parts(&token);
    let forged = format!("{version}.{payload}.{signature}");
    assert_eq!(accepting(&[1]).authenticate(&forged), Err(InvalidLicence::BadSignature));
}

#[test]
fn a_key_that_is_given_twice_counts_once() {
    assert_eq!(accepting(&[1, 2, 1]).iter().count(), 2);
}

prop_compose! {
    fn any_licence()(
        id in any::<u128>(),
        install in any::<u128>(),
        plan in prop_oneof![Just(Plan::Pro), Just(Plan::Max)],
        issued in -1_000_000_000_000..=1_000_000_000_000_000_i64,
        seconds in 1..=4_000_000_000_u64,
        seed in any::<[u8; 32]>(),
    ) -> (Licence, SigningKey) {
        let key = SigningKey::from_bytes(&seed);
        let issued_at = Timestamp::from_unix_micros(issued.div_euclid(1_000_000) * 1_000_000).unwrap();
        let expires_at = issued_at + Duration::from_secs(seconds);
        let (id, install) = (LicenceId(Uuid::from_u128(id)), InstallId::new(Uuid::from_u128(install)));
        (Licence { id, install, plan, issued_at, expires_at, key: key.id() }, key)
    }
}

proptest! {
    #[test]
    fn every_licence_survives_its_token((licence, key) in any_licence()) {
        let token = licence.sign(&key).unwrap();
        let keys = LicenceKeys::new([key.verifying_key()]);
        prop_assert_eq!(keys.verify(&token, licence.install, licence.issued_at), Ok(licence));
        prop_assert_eq!(keys.verify(&token, licence.install, licence.expires_at - SECOND), Ok(licence));
        let expired = InvalidLicence::Expired { at: licence.expires_at };
        prop_assert_eq!(keys.verify(&token, licence.install, licence.expires_at), Err(expired));
    }

    #[test]
    fn any_flipped_bits_are_refused(
        (licence, key) in any_licence(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 1..128_u8), 1..4),
    ) {
        let token = licence.sign(&key).unwrap();
        let mut bytes = token.clone().into_bytes();
        for (index, bits) in flips {
            *index.get_mut(&mut bytes) ^= bits;
        }
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != token);
        prop_assert!(LicenceKeys::new([key.verifying_key()]).authenticate(&changed).is_err());
    }

    #[test]
    fn a_licence_is_accepted_by_no_key_but_its_own((licence, key) in any_licence(), other in any::<[u8; 32]>()) {
        let token = licence.sign(&key).unwrap();
        let other = SigningKey::from_bytes(&other);
        let refused = LicenceKeys::new([other.verifying_key()]).authenticate(&token);
        prop_assert_eq!(refused, Err(InvalidLicence::UnknownKey { key: key.id() }));
    }

    #[test]
    fn no_text_panics_and_no_refusal_repeats_it(text in "(v1\\.)?[A-Za-z0-9_.-]{9,40}(\\.[A-Za-z0-9_-]{86})?") {
        let refused = accepting(&[1]).authenticate(&text).unwrap_err();
        prop_assert!(!refused.to_string().contains(&text), "{refused}");
    }
}
