//! What commands do with installs and their credits.

use crate::books::rows::{Credits, RowKind};
use crate::books::{Books, Refusal, RowKeys};
use std::time::Duration;
use tithe_ledger::credits::{
    Credit, CreditId, CreditMoved, Install, InstallId, InstallOrigin, NewCredit, Plan, Quota,
};
use tithe_licences::LicenceId;

/// One request that an install's plan is to include.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditRequest {
    /// The install.
    pub install: InstallId,
    /// The plan that the request proves.
    pub plan: Plan,
    /// The licence that proves it; `None` for `core`.
    pub licence: Option<LicenceId>,
    /// What the plan includes.
    pub quota: Quota,
    /// Whether there is hardware.
    pub has_hardware: bool,
    /// Where the request comes from, and how many new installs may come from there in one day. `None` means no limit.
    pub origin: Option<(String, u64)>,
}

impl CreditRequest {
    /// Declares the rows that reserving the credit needs.
    pub(crate) fn declare(&self, credit: CreditId, keys: &mut RowKeys) {
        keys.declare_credit(credit, self.install);
        keys.licence_revocations.extend(self.licence);
        keys.install_origins.extend(self.origin.iter().map(|(name, _)| name.clone()));
    }
}

impl RowKeys {
    /// Declares a credit and its install.
    pub(crate) fn declare_credit(&mut self, credit: CreditId, install: InstallId) {
        self.installs.insert(install);
        self.credits.insert(credit);
    }
}

impl Books<'_> {
    /// The credit of this id, with its install.
    fn credit(&self, id: CreditId, install: InstallId) -> Result<(Credit, Install), Refusal> {
        let credit = self.rows.credits.get(&id)?.cloned();
        let credit = credit.ok_or_else(|| Refusal::not_found(Credits::NAME, &id))?;
        let install = self.rows.installs.get(&install)?.cloned();
        let install = install.ok_or_else(|| Refusal::not_found(Credits::NAME, &id))?;
        Ok((credit, install))
    }

    /// Reserves a credit. An install that was never seen gets its row, if its origin may have another.
    pub(crate) fn credit_reserve(
        &mut self,
        id: CreditId,
        request: &CreditRequest,
        lease: Duration,
    ) -> Result<Credit, Refusal> {
        let now = self.now();
        if self.rows.credits.contains(&id)? {
            return Err(Refusal::exists(Credits::NAME, &id));
        }
        if let Some(licence) = request.licence
            && self.rows.licence_revocations.contains(&licence)?
        {
            return Err(Refusal::LicenceRevoked(licence));
        }
        let install = if let Some(install) = self.rows.installs.get(&request.install)?.cloned() {
            install
        } else {
            self.install_admit(request)?;
            Install::new(request.install, now)
        };
        let CreditRequest { plan, quota, has_hardware, .. } = *request;
        let moved = NewCredit { id, plan, quota, has_hardware, lease }.reserve(&install, now)?;
        let credit = moved.credit.clone();
        self.credit_write(moved)?;
        Ok(credit)
    }

    /// Counts a new install for its origin. One that proves a paid plan is not counted.
    fn install_admit(&mut self, request: &CreditRequest) -> Result<(), Refusal> {
        let Some((name, most)) = request.origin.as_ref().filter(|_| !request.plan.is_paid()) else {
            return Ok(());
        };
        let now = self.now();
        let known = self.rows.install_origins.get(name)?.cloned();
        let origin = known.unwrap_or_else(|| InstallOrigin::new(name, now));
        self.rows.install_origins.put(origin.admit(*most, now)?)
    }

    /// Extends the lease of a credit.
    pub(crate) fn credit_renew(&mut self, id: CreditId, lease: Duration) -> Result<(), Refusal> {
        let credit = self.rows.credits.get(&id)?.cloned();
        let credit = credit.ok_or_else(|| Refusal::not_found(Credits::NAME, &id))?;
        let renewed = credit.renew(self.now(), lease)?;
        self.rows.credits.put(renewed)
    }

    /// Ends a credit with the work done.
    pub(crate) fn credit_commit(&mut self, id: CreditId, install: InstallId) -> Result<CreditMoved, Refusal> {
        let (credit, install) = self.credit(id, install)?;
        let moved = credit.commit(&install, self.now())?;
        self.credit_write(moved.clone())?;
        Ok(moved)
    }

    /// Gives a credit back, unless it has ended already. Returns whether it has ended now.
    pub(crate) fn credit_release(&mut self, id: CreditId, install: InstallId) -> Result<bool, Refusal> {
        let (credit, install) = self.credit(id, install)?;
        if !credit.state.is_live() {
            return Ok(false);
        }
        let moved = credit.release(&install, self.now())?;
        self.credit_write(moved)?;
        Ok(true)
    }

    /// Gives a credit back whose lease has run out.
    pub(super) fn credit_expire(&mut self, id: CreditId, install: InstallId) -> Result<(), Refusal> {
        let (credit, install) = self.credit(id, install)?;
        let moved = credit.expire(&install, self.now())?;
        self.credit_write(moved)
    }

    fn credit_write(&mut self, moved: CreditMoved) -> Result<(), Refusal> {
        self.rows.installs.put(moved.install)?;
        self.rows.credits.put(moved.credit)
    }
}
