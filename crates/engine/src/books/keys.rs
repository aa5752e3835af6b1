//! Commands on idempotency keys.

use super::Books;
use crate::commands::{Answer, Outcome};
use crate::idempotency::{
    Begin, IdempotencyId, IdempotencyRecord, IdempotencyRequest, IdempotencyState, StoredAnswer,
};

impl Books {
    pub(super) fn idempotency_begin(&mut self, request: &IdempotencyRequest) -> Outcome {
        Ok(match request.begin(self.idempotency.get(&request.id), None, self.now)? {
            Begin::New(record) => {
                self.idempotency.put(record.id.clone(), record);
                Answer::Done
            }
            Begin::Resume(record) => {
                let subject = record.subject;
                self.idempotency.put(record.id.clone(), record);
                Answer::Resumed { subject }
            }
            Begin::Replay(answer) => Answer::Replayed(answer),
        })
    }

    /// Keeps the first answer; a later one (of a server that was taken for dead) is not what was told.
    pub(super) fn idempotency_finish(&mut self, id: &IdempotencyId, answer: &StoredAnswer) -> Answer {
        let Some(record) = self.unanswered(id) else { return Answer::AlreadyDone };
        let record = IdempotencyRecord { state: IdempotencyState::Done(answer.clone()), ..record };
        self.idempotency.put(id.clone(), record);
        Answer::Done
    }

    pub(super) fn idempotency_release(&mut self, id: &IdempotencyId) -> Answer {
        let Some(record) = self.unanswered(id) else { return Answer::AlreadyDone };
        let state = IdempotencyState::InProgress { lease_until: self.now };
        self.idempotency.put(id.clone(), IdempotencyRecord { state, ..record });
        Answer::Done
    }

    fn unanswered(&self, id: &IdempotencyId) -> Option<IdempotencyRecord> {
        let record = self.idempotency.get(id)?;
        matches!(record.state, IdempotencyState::InProgress { .. }).then(|| record.clone())
    }
}
