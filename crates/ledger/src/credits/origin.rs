//! How many new installs one origin may have, so that new ids give no unlimited free use.

use std::time::Duration;
use tithe_clock::Timestamp;

/// How long the installs of an origin are counted together.
pub const ORIGIN_WINDOW: Duration = Duration::from_hours(24);

/// The new installs of one origin, such as one address: the row that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InstallOrigin {
    /// The origin's name.
    pub name: String,
    /// When the first install came that is counted.
    pub since: Timestamp,
    /// How many installs have come since.
    pub installs: u64,
}

/// The origin has too many new installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many new installs: expected at most {most} a day from one address")]
pub struct TooManyInstalls {
    /// How many may come in one window.
    pub most: u64,
    /// After how long the next one may come.
    pub retry_after: Duration,
}

impl InstallOrigin {
    /// An origin that no install has come from.
    #[must_use]
    pub fn new(name: impl Into<String>, now: Timestamp) -> Self {
        Self { name: name.into(), since: now, installs: 0 }
    }

    /// Counts one more install: at most `most` in a window of 24 hours that begins with the first.
    ///
    /// # Errors
    /// [`TooManyInstalls`].
    pub fn admit(&self, most: u64, now: Timestamp) -> Result<Self, TooManyInstalls> {
        let ends = self.since + ORIGIN_WINDOW;
        let (since, before) = if now < ends { (self.since, self.installs) } else { (now, 0) };
        if before >= most {
            return Err(TooManyInstalls { most, retry_after: (since + ORIGIN_WINDOW).since(now) });
        }
        Ok(Self { name: self.name.clone(), since, installs: before.saturating_add(1) })
    }

    /// Whether its window is over, so that nothing is lost when it is forgotten.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.since + ORIGIN_WINDOW <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_so_many_installs_a_day() {
        let now = Timestamp::UNIX_EPOCH;
        let mut origin = InstallOrigin::new("192.0.2.1", now);
        for _ in 0..3 {
            origin = origin.admit(3, now).unwrap();
        }
        let later = now + Duration::from_hours(23);
        let refused = TooManyInstalls { most: 3, retry_after: Duration::from_hours(1) };
        assert_eq!(origin.admit(3, later), Err(refused));
        let next_day = now + ORIGIN_WINDOW;
        assert!(origin.is_over(next_day) && !origin.is_over(later));
        let origin = origin.admit(3, next_day).unwrap();
        assert_eq!((origin.since, origin.installs), (next_day, 1));
        assert_eq!(origin.admit(0, next_day).unwrap_err().retry_after, ORIGIN_WINDOW);
    }
}
