//! Credits what is due to a session.

use crate::books::{Books, Command, Posting, Refusal, RowKeys};
use tithe_ledger::AccountId;
use tithe_money::Sats;
use tithe_payouts::PayoutError;
use tithe_sessions::{Session, SessionId};
use uuid::Uuid;

/// Credits all that is due to the session that the customer has named, which must be active. The second time nothing is due. Returns what was
/// credited.
#[derive(Debug, Clone)]
pub(crate) struct PayoutCredit {
    /// The account of the obligation.
    pub(crate) account: AccountId,
    /// The session that gets it.
    pub(crate) session: Uuid,
}

impl Command for PayoutCredit {
    type Reply = Sats;
    const NAME: &'static str = "payout_credit";

    fn declare(&self, keys: &mut RowKeys) {
        keys.obligations.insert(self.account);
        keys.sessions.insert(SessionId(self.session));
        keys.accounts.insert(AccountId::Session(self.session));
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Sats, Refusal> {
        let owed = books.obligation(self.account)?;
        let (credited, transfer) = owed.credited(self.session, books.now())?;
        let session = books.session_to_credit(self.session)?;
        let session = session.credited(transfer.amount, books.now());
        let session = session.map_err(|wrong| PayoutError::Session(wrong.to_string()))?;
        let (debit, credit, amount) = (transfer.debit, transfer.credit, transfer.amount);
        let (key, kind, reference) = (transfer.key, transfer.kind, transfer.reference);
        books.post(Posting { key, debit, credit, amount, kind, reference })?;
        let balance = books.account(credit)?.balance();
        books.rows.sessions.put(session.topped_up(balance))?;
        books.rows.obligations.put(credited)?;
        Ok(owed.due)
    }
}

impl Books<'_> {
    /// The session of this id, which a refund is to be credited to.
    pub(super) fn session_to_credit(&self, id: Uuid) -> Result<Session, Refusal> {
        let stored = self.rows.sessions.get(&SessionId(id))?.cloned();
        Ok(stored.ok_or_else(|| PayoutError::Session("there is none of this id".to_owned()))?)
    }
}
