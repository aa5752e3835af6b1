//! A check, and the area that it belongs to.

use super::outcome::Checked;
use super::run::Run;
use futures_util::future::LocalBoxFuture;

/// How a check is run.
type RunCheck = for<'a> fn(&'a mut Run) -> LocalBoxFuture<'a, Checked>;

/// One check.
pub(super) struct Check {
    /// The stable name, in kebab-case.
    pub(super) name: &'static str,
    /// What it proves, in one line.
    pub(super) proves: &'static str,
    /// The checks that must have passed before.
    pub(super) needs: &'static [&'static str],
    pub(super) run: RunCheck,
}

/// The checks of one part of the contract, in the order in which they run.
pub(super) struct Area {
    /// The name, in kebab-case.
    pub(super) name: &'static str,
    /// The section of the contract.
    pub(super) section: &'static str,
    pub(super) checks: Vec<Check>,
}

impl Check {
    pub(super) const fn new(name: &'static str, proves: &'static str, run: RunCheck) -> Self {
        Self { name, proves, needs: &[], run }
    }

    /// The checks that must have passed before this one.
    pub(super) const fn after(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }
}
