//! Signed requests that only read.

use crate::error::{EngineError, InvalidCredential};
use crate::records::AuthNonceId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tithe_clock::Timestamp;

/// The most signed requests that are remembered.
const RECENT_MAX: usize = 100_000;

/// How long a full memory is not searched again for expired entries.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The signed requests that this server has accepted lately and that only read: they write nothing, not even their nonce.
#[derive(Default)]
pub(super) struct RecentNonces(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    consumed: HashMap<AuthNonceId, Timestamp>,
    searched_at: Option<Timestamp>,
}

impl RecentNonces {
    /// Consumes a nonce on this server.
    pub(super) fn consume(
        &self,
        nonce: AuthNonceId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.consumed.contains_key(&nonce) {
            return Err(InvalidCredential::Used.into());
        }
        let searched = recent.searched_at.is_some_and(|at| now.since(at) < SEARCH_INTERVAL && at <= now);
        if recent.consumed.len() >= RECENT_MAX && !searched {
            recent.consumed.retain(|_, expires_at| now < *expires_at);
            recent.searched_at = Some(now);
        }
        if recent.consumed.len() >= RECENT_MAX {
            return Err(EngineError::Busy);
        }
        recent.consumed.insert(nonce, expires_at);
        Ok(())
    }
}
