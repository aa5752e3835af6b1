//! Helpers shared by the tests of this crate.

use crate::{Secret, SecretKey, Secrets, VerifiedEvent};
use tithe_clock::Timestamp;

/// A timestamp in whole seconds, as in events.
pub(crate) const NOW: Timestamp = match Timestamp::from_unix_micros(1_769_860_800_000_000) {
    Ok(now) => now,
    Err(_) => Timestamp::UNIX_EPOCH,
};

pub(crate) fn alice() -> SecretKey {
    SecretKey::from_bytes([0xa1; 32]).unwrap()
}

pub(crate) fn secrets() -> Secrets {
    Secrets::new(Secret::new([1; 32]).unwrap(), vec![])
}

/// A verified event signed by Alice.
pub(crate) fn event(kind: u16, tags: &[&[&str]], content: &str, at: Timestamp) -> VerifiedEvent {
    VerifiedEvent::parse(&alice().sign(kind, tags, content, at, [0; 32])).unwrap()
}

/// A secret that contains `name`.
pub(crate) fn secret(name: &str) -> Secret {
    Secret::new(format!("{name:_<32}")).unwrap()
}
