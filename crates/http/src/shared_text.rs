//! Long texts on their way to readers: shared by all of them, and sent in small parts.
//!
//! A reader may be slow on purpose. What it has not taken yet must cost the server neither a copy of its own nor a write buffer of
//! that size.

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use tithe_clock::Timestamp;
use tithe_jobs::JobId;

/// The most bytes that are handed to a connection at once.
pub(crate) const PART_BYTES: usize = 16 * 1024;

/// From how many bytes on a text is worth sharing.
const SHARED_FROM: usize = 64 * 1024;

/// A text of an ended job: which one, as of which revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TextKey {
    pub(crate) kind: &'static str,
    pub(crate) job: JobId,
    pub(crate) revision: u32,
    /// The tier that the text tells: it may change without the job.
    pub(crate) tier: &'static str,
    /// When the refund that the text tells last changed, for the same reason.
    pub(crate) refund: Timestamp,
    /// When the job's texts were deleted.
    pub(crate) text_deleted_at: Option<Timestamp>,
}

/// The texts that somebody is reading. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedTexts(Arc<Mutex<HashMap<TextKey, Weak<Text>>>>);

#[derive(Debug)]
struct Text(Vec<u8>);

/// A text that is held for as long as somebody reads it.
struct Held(Arc<Text>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl SharedTexts {
    /// The text of this key: the one that others are reading, or a new one.
    pub(crate) fn get<E>(
        &self,
        key: TextKey,
        render: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        if let Some(text) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(Bytes::from_owner(Held(text)));
        }
        let text = render()?;
        if text.len() < SHARED_FROM {
            return Ok(text.into());
        }
        let text = Arc::new(Text(text));
        let mut texts = self.lock();
        texts.retain(|_, text| text.strong_count() > 0);
        texts.insert(key, Arc::downgrade(&text));
        Ok(Bytes::from_owner(Held(text)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TextKey, Weak<Text>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is sent in small parts.
pub(crate) struct Parts(pub(crate) Bytes);

impl Parts {
    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next part.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let length = self.0.len().min(PART_BYTES);
        (length > 0).then(|| self.0.split_to(length))
    }
}

impl MessageBody for Parts {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.next().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const KEY: TextKey = TextKey {
        kind: "job",
        job: JobId(Uuid::nil()),
        revision: 7,
        tier: "new",
        refund: Timestamp::UNIX_EPOCH,
        text_deleted_at: None,
    };

    fn text(texts: &SharedTexts, length: usize) -> Bytes {
        texts.get(KEY, || Ok::<_, Infallible>(vec![b'x'; length])).unwrap()
    }

    #[test]
    fn readers_of_a_long_text_share_it_for_as_long_as_one_of_them_reads() {
        let texts = SharedTexts::default();
        let (first, second) = (text(&texts, SHARED_FROM), text(&texts, 1));
        assert_eq!(first.as_ptr(), second.as_ptr());
        drop(first);
        assert_eq!(text(&texts, 1).len(), SHARED_FROM);
        drop(second);
        assert_eq!(text(&texts, 1).len(), 1, "nobody reads it any more");
    }

    #[test]
    fn parts_are_small_and_together_the_whole() {
        let whole = Bytes::from((0..100_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>());
        let mut parts = Parts(whole.clone());
        assert_eq!(parts.size(), BodySize::Sized(100_000));
        let mut all = Vec::new();
        while let Some(part) = parts.next() {
            assert!(part.len() <= PART_BYTES);
            all.extend_from_slice(&part);
        }
        assert_eq!(all, whole);
    }
}
