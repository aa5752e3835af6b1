//! Ends a kept request whose payment is no longer held.

use super::super::steps::account_of;
use super::charge::{HeldDeposit, lost};
use crate::books::{Books, Command, Posting, Refusal, RowKeys};
use tithe_ledger::{AccountId, TransferKey, TransferKind};
use tithe_lightning::{InvoiceState, PaymentHash};
use tithe_sessions::{
    KeptAnswer, KeptLease, KeptRequest, KeptState, RequestState, Session, SessionId, SessionState,
};

/// Ends a kept request whose payment is no longer held. If it has gone back, as it was to or before it could be taken, its offer has expired,
/// and work that was done is booked as uncollected. If it was received and not charged, by a server that knows nothing of kept requests, it
/// is charged now, unless something else was bought with it.
#[derive(Debug, Clone)]
pub struct KeptEnd {
    /// The session that it is kept for.
    pub session: SessionId,
    /// The hold invoice.
    pub invoice: PaymentHash,
    /// What never changes of it.
    pub held: HeldDeposit,
    /// The lease under which the wallet was asked.
    pub lease: KeptLease,
}

impl Command for KeptEnd {
    type Reply = ();
    const NAME: &'static str = "kept_end";

    fn declare(&self, keys: &mut RowKeys) {
        keys.invoices.insert(self.invoice);
        keys.declare_kept_charge(self.session, &self.held);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<(), Refusal> {
        let (kept, session) = (books.kept_leased(self.session, &self.lease)?, books.session(self.session)?);
        let invoice = books.rows.invoices.get(&self.invoice)?;
        let is_paid = invoice.is_some_and(|invoice| matches!(invoice.state, InvoiceState::Paid { .. }));
        match &kept.state {
            KeptState::Settling { answer } if is_paid && is_unused(books, &session)? => {
                return books.kept_charge(&kept, answer, &session, self.held.keep);
            }
            KeptState::Settling { answer } => uncollected(books, &kept, answer)?,
            KeptState::Cancelling => {}
            KeptState::Offered | KeptState::Held { .. } | KeptState::Ended => return Err(lost(self.session)),
        }
        let now = books.now();
        if !is_paid {
            books.rows.sessions.put(session.invoice_expired(self.invoice, now))?;
        }
        books.rows.kept_requests.put(kept.ended(now))
    }
}

/// Whether a session has what was paid in, and nothing was bought with it.
fn is_unused(books: &Books<'_>, session: &Session) -> Result<bool, Refusal> {
    let account = books.account(account_of(session.id))?;
    Ok(matches!(session.state, SessionState::Active) && account.held().is_zero())
}

fn uncollected(books: &mut Books<'_>, kept: &KeptRequest, answer: &KeptAnswer) -> Result<(), Refusal> {
    let (RequestState::Complete { ended, .. } | RequestState::Rejected { ended, .. }) = &answer.state else {
        return Ok(());
    };
    if ended.cost.is_zero() {
        return Ok(());
    }
    books.post(Posting {
        key: TransferKey::new(format!("uncollected:{}:held", kept.request)),
        debit: AccountId::Operator,
        credit: AccountId::Revenue,
        amount: ended.cost,
        kind: TransferKind::Uncollected,
        reference: kept.request.0,
    })
}
