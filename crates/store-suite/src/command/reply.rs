//! What commands reply, as one enum.

use tithe_engine::asks::{AskBegun, AskEnded, FinishedAsk};
use tithe_engine::books::Posted;
use tithe_engine::charging::Charged;
use tithe_engine::credits::Imported;
use tithe_engine::idempotency::KeyBegun;
use tithe_engine::jobs::Abandoned;
use tithe_engine::payments::{Credited, InvoiceExpired, Issued};
use tithe_engine::records::StoredResponse;
use tithe_free_tier::{Identity, Reservation};
use tithe_jobs::Job;
use tithe_ledger::Hold;
use tithe_ledger::credits::Credit;
use tithe_licences::Revocation;
use tithe_lightning::InvoiceChange;
use tithe_money::Msats;
use uuid::Uuid;

/// The reply of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The change was made.
    Done,
    /// The change had been made before; nothing has changed.
    AlreadyDone,
    /// The key was answered before.
    Replayed(StoredResponse),
    /// An abandoned request is continued.
    Resumed {
        /// What it had made.
        subject: Option<Uuid>,
    },
    /// The job as it is now.
    JobMoved(Box<Job>),
    /// A payment was credited.
    Credited(InvoiceChange),
    /// The hold as it is now.
    Hold(Hold),
    /// The reservation as it is now.
    Reservation(Reservation),
    /// Finished work was settled.
    Charged {
        /// What the pool paid.
        absorbed: Msats,
        /// What the account paid.
        charged: Msats,
        /// What nobody paid.
        uncollected: Msats,
    },
    /// The identity as it is now.
    Identity(Box<Identity>),
    /// The credit as it is now.
    Credit(Box<Credit>),
    /// A plain request was answered.
    Answered(Box<FinishedAsk>),
    /// What was set aside for a plain request was given back.
    GivenBack,
    /// Installs were imported.
    Imported(Imported),
    /// The licence is revoked.
    Revoked(Revocation),
}

pub(super) fn done(changed: bool) -> Reply {
    if changed { Reply::Done } else { Reply::AlreadyDone }
}

pub(super) fn key_begun(reply: KeyBegun) -> Reply {
    match reply {
        KeyBegun::New => Reply::Done,
        KeyBegun::Resumed { subject } => Reply::Resumed { subject },
        KeyBegun::Replayed(response) => Reply::Replayed(response),
    }
}

pub(super) fn issued(reply: Issued) -> Reply {
    done(reply == Issued::Now)
}

pub(super) fn expired(reply: InvoiceExpired) -> Reply {
    done(reply == InvoiceExpired::Now)
}

pub(super) fn abandoned(reply: Abandoned) -> Reply {
    done(reply == Abandoned::Now)
}

pub(super) fn posted(reply: Posted) -> Reply {
    done(reply == Posted::Now)
}

pub(super) fn credited(reply: Credited) -> Reply {
    match reply {
        Credited::Now(arrival) => Reply::Credited(arrival),
        Credited::Before => Reply::AlreadyDone,
    }
}

pub(super) fn charged(reply: Charged) -> Reply {
    match reply {
        Charged::Now(shares) => Reply::Charged {
            absorbed: shares.absorbed,
            charged: shares.charged,
            uncollected: shares.uncollected,
        },
        Charged::Before => Reply::AlreadyDone,
    }
}

pub(super) fn consumed(reply: Option<Box<Identity>>) -> Reply {
    reply.map_or(Reply::Done, Reply::Identity)
}

pub(super) fn ask_begun(reply: AskBegun) -> Reply {
    match reply {
        AskBegun::Credit(credit) => Reply::Credit(credit),
        AskBegun::Grant(reservation) => Reply::Reservation(*reservation),
        AskBegun::Replayed(response) => Reply::Replayed(response),
    }
}

pub(super) fn ask_ended(reply: AskEnded) -> Reply {
    match reply {
        AskEnded::Answered(finished) => Reply::Answered(finished),
        AskEnded::GivenBack => Reply::GivenBack,
    }
}

pub(super) fn nothing((): ()) -> Reply {
    Reply::Done
}
