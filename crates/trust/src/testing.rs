//! What the tests of this crate share.

use crate::{ProvenEvent, Secret, SecretKey, Secrets};
use tithe_clock::Timestamp;

/// A whole second, as events have it.
pub(crate) const NOW: Timestamp = match Timestamp::from_unix_micros(1_769_860_800_000_000) {
    Ok(now) => now,
    Err(_) => Timestamp::UNIX_EPOCH,
};

pub(crate) fn alice() -> SecretKey {
    SecretKey::from_bytes([0xa1; 32]).unwrap()
}

pub(crate) fn secrets() -> Secrets {
    Secrets::new(Secret::new([1; 32]), vec![])
}

/// An event of Alice's, as anybody reads it.
pub(crate) fn event(kind: u16, tags: &[&[&str]], content: &str, at: Timestamp) -> ProvenEvent {
    ProvenEvent::parse(&alice().sign(kind, tags, content, at, [0; 32])).unwrap()
}
