//! The owners of money, as fields.

use tithe_ledger::AccountId;
use tithe_lightning::{OwnerId, Purpose};
use tracing::field::{DisplayValue, display};
use tracing::{Span, info_span};
use uuid::Uuid;

/// The owner that a line is about. Exactly one of its fields has a value; of owners that are not Tithe's own, none has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(Option<AccountId>);

impl Owner {
    /// The owner of an account.
    pub(crate) const fn of_account(account: AccountId) -> Self {
        Self(Some(account))
    }

    /// The owner of an invoice.
    pub(crate) const fn of_invoice(purpose: Purpose, owner: OwnerId) -> Self {
        Self(match purpose {
            Purpose::JobEval | Purpose::JobWork => Some(AccountId::Job(owner.0)),
            Purpose::SessionDeposit | Purpose::SessionTopUp | Purpose::SessionTopUpOffer => {
                Some(AccountId::Session(owner.0))
            }
            Purpose::Bootstrap => Some(AccountId::Bootstrap(owner.0)),
            Purpose::Custom(_) => None,
        })
    }

    /// What is bought, by the name of its kind.
    pub(crate) fn of_purchase(kind: &str, id: Uuid) -> Self {
        Self(match kind {
            "job" => Some(AccountId::Job(id)),
            "session" => Some(AccountId::Session(id)),
            "bootstrap" => Some(AccountId::Bootstrap(id)),
            _ => None,
        })
    }

    /// A span in which every line has the owner.
    pub(crate) fn span(self) -> Span {
        info_span!("owner", job_id = self.job(), session_id = self.session(), bootstrap_id = self.bootstrap())
    }

    /// The field `job_id`.
    pub(crate) fn job(self) -> Option<DisplayValue<Uuid>> {
        if let Some(AccountId::Job(id)) = self.0 { Some(display(id)) } else { None }
    }

    /// The field `session_id`.
    pub(crate) fn session(self) -> Option<DisplayValue<Uuid>> {
        if let Some(AccountId::Session(id)) = self.0 { Some(display(id)) } else { None }
    }

    /// The field `bootstrap_id`.
    pub(crate) fn bootstrap(self) -> Option<DisplayValue<Uuid>> {
        if let Some(AccountId::Bootstrap(id)) = self.0 { Some(display(id)) } else { None }
    }
}
