//! Who pays for a plain request.

use crate::books::{Books, Refusal, RowKeys};
use crate::credits::CreditRequest;
use tithe_free_tier::ReservationId;
use tithe_ledger::credits::{CreditId, InstallId};
use tithe_money::Msats;
use tithe_trust::NostrPubkey;
use uuid::Uuid;

/// Who is to pay for a request that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewAskPayer {
    /// An install's plan includes it.
    Install(CreditRequest),
    /// The pool pays for all of it, because of the trust in an identity.
    Pool {
        /// The identity.
        identity: NostrPubkey,
        /// The most that the request can cost.
        amount: Msats,
    },
}

/// Who pays for a request that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskPayer {
    /// An install's plan includes it.
    Install(InstallId),
    /// The pool pays for it, because of the trust in an identity.
    Pool(NostrPubkey),
}

impl AskPayer {
    /// Declares what is set aside for a request.
    pub(super) fn declare(self, id: Uuid, keys: &mut RowKeys) {
        match self {
            Self::Install(install) => keys.declare_credit(CreditId(id), install),
            Self::Pool(identity) => keys.declare_reservation(ReservationId(id), identity),
        }
    }

    /// Gives back what is set aside for a request. Returns whether anything was: it may have ended before.
    pub(super) fn release(self, id: Uuid, books: &mut Books<'_>) -> Result<bool, Refusal> {
        match self {
            Self::Install(install) => books.credit_release(CreditId(id), install),
            Self::Pool(identity) => {
                let Some(held) = books.live_reservation(ReservationId(id))? else { return Ok(false) };
                let identity = books.identity(identity)?;
                let ended = held.release(&identity, &books.pool_state()?, books.now())?;
                books.reservation_end(ended)?;
                Ok(true)
            }
        }
    }
}

impl NewAskPayer {
    /// The payer, once the request runs.
    pub(super) const fn running(&self) -> AskPayer {
        match self {
            Self::Install(request) => AskPayer::Install(request.install),
            Self::Pool { identity, .. } => AskPayer::Pool(*identity),
        }
    }
}
