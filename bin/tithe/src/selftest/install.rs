//! Installs of an app, and what they have left.

use super::api::{Call, random};
use std::fmt;
use tithe_ledger::credits::InstallId;
use tithe_licences::uuid::Builder;

/// The header with the id of an install.
pub(super) const INSTALL_ID: &str = "X-Install-Id";

/// The id of an install that no server has seen.
pub(super) fn new_install() -> InstallId {
    InstallId::new(Builder::from_random_bytes(random()).into_uuid())
}

/// A request of an install.
pub(super) fn of_install(call: Call<'_>, install: InstallId) -> Call<'_> {
    call.header("x-install-id", &install.to_string())
}

/// What an install has left, and what it has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credits {
    /// The requests that are left; `None` for any number.
    pub(super) remaining: Option<u64>,
    /// How many of them may run in the cloud; `None` for any number.
    pub(super) cloud: Option<u64>,
    /// The requests that were done.
    pub(super) consumed: u64,
}

impl Credits {
    /// What must be left after one more request, which ran on `backend`; `None` if the plan does not include it there.
    pub(super) fn after_one_on(self, backend: &str) -> Option<Self> {
        let Self { remaining, cloud, consumed } = self;
        let is_cloud = backend == "cloud";
        // Hardware does what the cloud may not do.
        let is_included = remaining != Some(0) && is_cloud == (cloud != Some(0));
        let less_one = |left: Option<u64>| left.map(|left| left.saturating_sub(1));
        let (remaining, consumed) = (less_one(remaining), consumed.saturating_add(1));
        let cloud = if is_cloud { less_one(cloud) } else { cloud };
        is_included.then_some(Self { remaining, cloud, consumed })
    }
}

/// A number that is left, as JSON has it.
pub(super) fn shown(left: Option<u64>) -> String {
    left.map_or("null".to_owned(), |left| left.to_string())
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remaining, cloud, consumed } = *self;
        let (remaining, cloud) = (shown(remaining), shown(cloud));
        write!(f, "`remaining` {remaining}, `cloudRemaining` {cloud} and {consumed} consumed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_one_credit_where_the_plan_lets_it_run() {
        let credits = |remaining, cloud, consumed| Credits { remaining, cloud, consumed };
        let (two, none) = (Some(2), Some(0));
        for (before, backend, after) in [
            (credits(two, None, 5), "cloud", Some(credits(Some(1), None, 6))),
            (credits(two, two, 5), "cloud", Some(credits(Some(1), Some(1), 6))),
            (credits(None, None, 5), "cloud", Some(credits(None, None, 6))),
            (credits(None, none, 5), "hardware", Some(credits(None, none, 6))),
            (credits(two, none, 5), "cloud", None),
            (credits(two, two, 5), "hardware", None),
            (credits(two, None, 5), "hardware", None),
            (credits(none, None, 5), "cloud", None),
            (credits(none, none, 5), "hardware", None),
        ] {
            assert_eq!(before.after_one_on(backend), after, "{before} {backend}");
        }
    }
}
