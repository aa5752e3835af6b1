//! The allowed age of signed events.

use crate::{AuthError, VerifiedEvent};
use std::time::Duration;
use tithe_clock::Timestamp;

/// Returns true if the event was created within `window` of now, before or after.
pub(crate) fn check_age(event: &VerifiedEvent, window: Duration, now: Timestamp) -> Result<(), AuthError> {
    let created_at = event.created_at();
    if now > created_at + window {
        return Err(AuthError::TooOld { created_at, now });
    }
    if created_at > now + window {
        return Err(AuthError::FromTheFuture { created_at, now });
    }
    Ok(())
}
