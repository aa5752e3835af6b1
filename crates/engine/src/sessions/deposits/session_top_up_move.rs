//! Moves a deposit to the session that it tops up.

use crate::books::{Books, Command, Posting, Refusal, RowKeys};
use crate::sessions::steps::account_of;
use tithe_ledger::{TransferKey, TransferKind};
use tithe_sessions::{SessionError, SessionId};

/// What became of a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpOutcome {
    /// The session has it.
    Credited,
    /// The session has ended. The top-up is refunded to the session's return invoice if that is not for a rest of the session, and else stays due:
    /// it is claimed with the challenge that it was paid for.
    Ended,
}

impl TopUpOutcome {
    /// The name in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credited => "credited",
            Self::Ended => "ended",
        }
    }
}

/// Moves the whole balance of a deposit to an open session, and closes the deposit, once. If the session has ended, the deposit is refunded:
/// to the return invoice of that, unless the session itself had something left, because an invoice can be paid once; then it is claimed.
/// Repeating it changes nothing, and returns the same.
#[derive(Debug, Clone)]
pub struct SessionTopUpMove {
    /// The session of the deposit.
    pub deposit: SessionId,
    /// The session that is topped up.
    pub target: SessionId,
}

impl Command for SessionTopUpMove {
    type Reply = TopUpOutcome;
    const NAME: &'static str = "session_top_up_move";

    fn declare(&self, keys: &mut RowKeys) {
        keys.declare_session_refund(self.deposit);
        keys.declare_session_refund(self.target);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<TopUpOutcome, Refusal> {
        let (deposit, target) = (books.session(self.deposit)?, books.session(self.target)?);
        let payment = deposit.kind.payment().ok_or(SessionError::NotPaymentScheme)?;
        if payment.topped_up == Some(target.id) {
            let is_refunded = payment.return_invoice.is_some();
            return Ok(if is_refunded { TopUpOutcome::Ended } else { TopUpOutcome::Credited });
        }
        let (from, to) = (account_of(deposit.id), account_of(target.id));
        let amount = books.account(from)?.balance();
        let (deposit, topped_up) = deposit.topping_up(&target, amount, books.now())?;
        let Some(topped_up) = topped_up else {
            books.session_refund(&deposit, "top_up")?;
            if let Some(invoice) = target.kind.return_invoice()
                && books.rows.obligations.get(&to)?.is_none()
                // What a request that still runs leaves is paid to it.
                && books.account(to)?.balance().is_zero()
            {
                books.obligation_invoice(from, invoice)?;
            }
            return Ok(TopUpOutcome::Ended);
        };
        books.post(Posting {
            key: TransferKey::new(format!("deposit_moved:{}", deposit.id)),
            debit: from,
            credit: to,
            amount,
            kind: TransferKind::DepositMoved,
            reference: target.id.0,
        })?;
        let balance = books.account(to)?.balance();
        books.rows.sessions.put(deposit)?;
        books.rows.sessions.put(topped_up.topped_up(balance))?;
        Ok(TopUpOutcome::Credited)
    }
}
