//! Decides what becomes of the payment of a kept request.

use super::charge::lost;
use crate::books::{Books, Command, Refusal, RowKeys};
use tithe_sessions::{KeptAnswer, KeptLease, KeptRequest, SessionId};

/// Ends the work on a kept request: its payment is to be taken for the answer, or, without one, to be given back. Neither is done yet, and
/// neither is ever changed into the other. Returns the kept request as it is now.
#[derive(Debug, Clone)]
pub struct KeptFinish {
    /// The session that it is kept for.
    pub session: SessionId,
    /// The lease under which the work was done.
    pub lease: KeptLease,
    /// The answer; `None` if there is none that is paid for.
    pub answer: Option<KeptAnswer>,
}

impl Command for KeptFinish {
    type Reply = Box<KeptRequest>;
    const NAME: &'static str = "kept_finish";

    fn declare(&self, keys: &mut RowKeys) {
        keys.kept_requests.insert(self.session);
    }

    fn decide(&self, books: &mut Books<'_>) -> Result<Box<KeptRequest>, Refusal> {
        let (kept, now) = (books.kept_leased(self.session, &self.lease)?, books.now());
        let decided = match &self.answer {
            Some(answer) => kept.answered(answer.clone(), now),
            None => kept.cancelled(now),
        };
        let decided = decided.ok_or_else(|| lost(self.session))?;
        books.rows.kept_requests.put(decided.clone())?;
        Ok(Box::new(decided))
    }
}
