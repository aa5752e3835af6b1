//! The life of something that is set aside for a piece of work: it ends exactly once.

use tithe_clock::Timestamp;

/// When something that is set aside may be taken back without the server that set it aside.
pub trait Lease: Copy {
    /// Whether the lease has run out. A lease that depends on something else, such as an invoice, never runs out by itself.
    fn is_over(&self, now: Timestamp) -> bool;
}

/// A lease that runs out at this time unless it is renewed.
impl Lease for Timestamp {
    fn is_over(&self, now: Timestamp) -> bool {
        *self <= now
    }
}

/// The life of something that is set aside for a piece of work: money of an account (a hold), money of the pool and a day's budget (a
/// grant's reservation), or one request of a plan (a credit's reservation).
///
/// `L` is its lease, `T` is what the work took of it in the end. It ends exactly once (invariant I4), and every method returns the
/// next state instead of changing this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Lifecycle<L, T> {
    /// It is set aside. Live work renews the lease; once the lease has run out, a sweeper may take it back.
    Held {
        /// The lease.
        lease: L,
    },
    /// The work was done and took this.
    Settled(T),
    /// The work was not done; all of it was given back.
    Released,
    /// The lease ran out and all of it was given back.
    Expired {
        /// What the work took if it turned out to be done after all; at most once.
        late: Option<T>,
    },
}

/// Why something that is set aside cannot take a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// It has ended before.
    #[error("already ended: it is {0}")]
    Ended(&'static str),
    /// Its lease still runs.
    #[error("not expired yet")]
    Live,
}

impl<L, T> Lifecycle<L, T> {
    /// The name used by the stores.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Settled(_) => "settled",
            Self::Released => "released",
            Self::Expired { .. } => "expired",
        }
    }

    /// Whether it is still set aside.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

impl<L: Lease, T: Copy> Lifecycle<L, T> {
    /// What the work took in the end, if it was done.
    #[must_use]
    pub const fn taken(&self) -> Option<T> {
        match self {
            Self::Settled(taken) | Self::Expired { late: Some(taken) } => Some(*taken),
            _ => None,
        }
    }

    /// The lease, while it is set aside.
    ///
    /// # Errors
    /// [`LifecycleError::Ended`].
    pub const fn lease(&self) -> Result<L, LifecycleError> {
        match self {
            Self::Held { lease } => Ok(*lease),
            _ => Err(LifecycleError::Ended(self.as_str())),
        }
    }

    /// Goes on under another lease.
    ///
    /// # Errors
    /// [`LifecycleError::Ended`].
    pub fn renewed(&self, lease: L) -> Result<Self, LifecycleError> {
        self.lease().map(|_before| Self::Held { lease })
    }

    /// Whether work that is done now was done after it had expired.
    ///
    /// # Errors
    /// [`LifecycleError::Ended`] if it has been settled or released.
    pub const fn is_late(&self) -> Result<bool, LifecycleError> {
        match self {
            Self::Held { .. } => Ok(false),
            Self::Expired { late: None } => Ok(true),
            _ => Err(LifecycleError::Ended(self.as_str())),
        }
    }

    /// Ends with the work done: it took `taken`. What has expired can still be settled, once.
    ///
    /// # Errors
    /// [`LifecycleError::Ended`] if it has been settled or released.
    pub fn settled(&self, taken: T) -> Result<Self, LifecycleError> {
        Ok(if self.is_late()? { Self::Expired { late: Some(taken) } } else { Self::Settled(taken) })
    }

    /// Ends with the work not done.
    ///
    /// # Errors
    /// [`LifecycleError::Ended`].
    pub fn released(&self) -> Result<Self, LifecycleError> {
        self.lease().map(|_before| Self::Released)
    }

    /// Ends because the lease has run out.
    ///
    /// # Errors
    /// [`LifecycleError::Live`] while the lease runs, [`LifecycleError::Ended`].
    pub fn expired(&self, now: Timestamp) -> Result<Self, LifecycleError> {
        if self.lease()?.is_over(now) { Ok(Self::Expired { late: None }) } else { Err(LifecycleError::Live) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    type Life = Lifecycle<Timestamp, u32>;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    proptest! {
        /// Whatever is tried, in whatever order: it ends once, and at most one piece of work takes something.
        #[test]
        fn it_ends_once(steps in prop::collection::vec((0_usize..4, 0_u64..20), 0..30)) {
            let mut life = Life::Held { lease: NOW + Duration::from_secs(10) };
            let (mut ends, mut taken) = (0, 0);
            for (step, at) in steps {
                let at = NOW + Duration::from_secs(at);
                let next = match step {
                    0 => life.renewed(at),
                    1 => life.settled(7),
                    2 => life.released(),
                    _ => life.expired(at),
                };
                let Ok(next) = next else { continue };
                prop_assert!(life.is_live() || life.is_late() == Ok(true), "{life:?} went on");
                ends += u32::from(life.is_live() && !next.is_live());
                taken += u32::from(next.taken().is_some());
                prop_assert!(step != 3 || life.lease().unwrap() <= at, "the lease protects it");
                life = next;
            }
            prop_assert!(ends <= 1 && taken <= 1);
            prop_assert_eq!(life.is_live(), ends == 0);
        }
    }

    #[test]
    fn states_have_the_names_that_the_stores_read() {
        let held = Life::Held { lease: NOW };
        let states = [held, held.settled(1).unwrap(), held.released().unwrap(), held.expired(NOW).unwrap()];
        assert_eq!(states.map(|state| state.as_str()), ["held", "settled", "released", "expired"]);
    }

    #[test]
    fn an_error_names_the_state() {
        let released = Life::Released;
        assert_eq!(released.settled(1), Err(LifecycleError::Ended("released")));
        assert_eq!(released.settled(1).unwrap_err().to_string(), "already ended: it is released");
        assert_eq!(
            Life::Held { lease: NOW }.expired(NOW - Duration::from_secs(1)),
            Err(LifecycleError::Live)
        );
    }
}
