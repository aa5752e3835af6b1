//! Nostr events with a verified signature (NIP-01).

use crate::NostrPubkey;
use nostr::event::{Event, EventId, Kind, Signature, Tag};
use serde_json::{Map, Value};
use std::io;
use tithe_clock::Timestamp;

/// The maximum size of an event's JSON. A typical authentication event is less than a tenth of it.
const JSON_BYTES_MAX: usize = 16 * 1024;
/// The maximum number of tags.
const TAGS_MAX: usize = 100;

/// An event whose id is the hash of its content and whose signature is valid (NIP-01).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEvent {
    id: [u8; 32],
    pubkey: NostrPubkey,
    created_at: Timestamp,
    kind: u16,
    tags: Vec<Vec<String>>,
    content: String,
}

/// The reason why an event is invalid. Its `Display` may be shown to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// The JSON is too large.
    #[error("event too large: expected at most 16 KiB")]
    TooLarge,
    /// The text is not JSON, or not a JSON object.
    #[error("invalid event: expected a JSON object")]
    NotAnObject,
    /// A field is missing or has the wrong type or form.
    #[error("invalid event field `{field}`: expected {expected}")]
    Field {
        /// The field's name in NIP-01.
        field: &'static str,
        /// A description of the expected value.
        expected: &'static str,
    },
    /// The public key is not the x coordinate of a curve point.
    #[error("invalid event field `pubkey`: not on the curve")]
    NotOnCurve,
    /// The id is not the hash of the event.
    #[error("wrong event id: expected the hash of the event")]
    Id,
    /// The signature is not valid for this event and key.
    #[error("invalid event signature: does not match the event's id and pubkey")]
    Signature,
}

impl InvalidEvent {
    /// Returns true if the input is not even shaped like an event, as opposed to an event with an invalid id, key or
    /// signature.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        match self {
            Self::TooLarge | Self::NotAnObject | Self::Field { .. } => true,
            Self::NotOnCurve | Self::Id | Self::Signature => false,
        }
    }
}

impl VerifiedEvent {
    /// Parses an event and verifies its form, id, key and signature.
    ///
    /// # Errors
    /// [`InvalidEvent`].
    pub fn parse(json: &str) -> Result<Self, InvalidEvent> {
        if json.len() > JSON_BYTES_MAX {
            return Err(InvalidEvent::TooLarge);
        }
        let value = serde_json::from_str(json).map_err(|_| InvalidEvent::NotAnObject)?;
        Self::from_object(&value)
    }

    /// Verifies an event that was parsed as part of a larger document.
    ///
    /// # Errors
    /// [`InvalidEvent`].
    pub fn from_value(value: &Value) -> Result<Self, InvalidEvent> {
        serde_json::to_writer(Room(JSON_BYTES_MAX), value).map_err(|_| InvalidEvent::TooLarge)?;
        Self::from_object(value)
    }

    fn from_object(value: &Value) -> Result<Self, InvalidEvent> {
        let fields = Fields(value.as_object().ok_or(InvalidEvent::NotAnObject)?);
        let id = fields.hex("id", "64 lowercase hex digits")?;
        let pubkey = fields.hex("pubkey", "64 lowercase hex digits")?;
        let sig = fields.hex("sig", "128 lowercase hex digits")?;
        let (seconds, created_at) = fields.created_at()?;
        let kind = fields.kind()?;
        let tags = fields.tags()?;
        let content = fields.get("content", "a text", Value::as_str)?;

        let event = Event::new(
            EventId::from_byte_array(id),
            nostr::key::PublicKey::from_byte_array(pubkey),
            nostr::types::Timestamp::from_secs(seconds),
            Kind::from_u16(kind),
            tags,
            content,
            Signature::from_byte_array(sig),
        );
        if !event.verify_id() {
            return Err(InvalidEvent::Id);
        }
        let pubkey = NostrPubkey::from_bytes(pubkey).map_err(|_| InvalidEvent::NotOnCurve)?;
        if !event.verify_signature() {
            return Err(InvalidEvent::Signature);
        }
        let tags = event.tags.into_iter().map(Tag::to_vec).collect();
        Ok(Self { id, pubkey, created_at, kind, tags, content: event.content })
    }

    /// The event's id, which is the hash of its content.
    #[must_use]
    pub const fn id(&self) -> [u8; 32] {
        self.id
    }

    /// The key that signed it.
    #[must_use]
    pub const fn pubkey(&self) -> NostrPubkey {
        self.pubkey
    }

    /// The event's kind.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        self.kind
    }

    /// When the event was created, according to its author; in whole seconds.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The event's content.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The first value of the first tag with this name. A tag without a value is ignored.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// The value of the only tag with this name; `None` if there are several, because an authentication event must be
    /// unambiguous.
    #[must_use]
    pub fn only_tag(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The first value of each tag with this name. Tags without a value are skipped.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.tags.iter().filter_map(move |tag| match tag.as_slice() {
            [first, value, ..] if first == name => Some(value.as_str()),
            _ => None,
        })
    }
}

/// The fields of a JSON object that should be an event.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, InvalidEvent> {
        self.0.get(field).and_then(read).ok_or(InvalidEvent::Field { field, expected })
    }

    fn hex<const N: usize>(
        &self,
        field: &'static str,
        expected: &'static str,
    ) -> Result<[u8; N], InvalidEvent> {
        self.get(field, expected, |value| lowercase_hex(value.as_str()?))
    }

    /// `created_at` as it is hashed, and as a timestamp.
    fn created_at(&self) -> Result<(u64, Timestamp), InvalidEvent> {
        self.get("created_at", "a time in whole seconds since 1970", |value| {
            let seconds = value.as_u64()?;
            let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
            Some((seconds, Timestamp::from_unix_micros(micros).ok()?))
        })
    }

    fn kind(&self) -> Result<u16, InvalidEvent> {
        self.get("kind", "a whole number from 0 to 65535", |value| u16::try_from(value.as_u64()?).ok())
    }

    fn tags(&self) -> Result<Vec<Tag>, InvalidEvent> {
        self.get("tags", "a list of at most 100 lists of texts, none of them empty", |value| {
            let tags = value.as_array().filter(|tags| tags.len() <= TAGS_MAX)?;
            tags.iter().map(tag).collect()
        })
    }
}

fn tag(value: &Value) -> Option<Tag> {
    let texts: Option<Vec<&str>> = value.as_array()?.iter().map(Value::as_str).collect();
    Tag::parse(texts?).ok()
}

/// Decodes lowercase hex of exactly this many bytes.
pub(crate) fn lowercase_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A writer that counts bytes against a limit and discards them.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
