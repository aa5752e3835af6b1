//! What commands do with idempotency keys.

use super::begin::KeyBegun;
use crate::books::{Books, Refusal};
use crate::records::{
    Begin, IdempotencyId, IdempotencyRecord, IdempotencyRequest, IdempotencyState, StoredResponse,
};
use tithe_clock::Timestamp;
use uuid::Uuid;

/// Whether a command on an unanswered key has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    /// The key has changed.
    Changed,
    /// The key is not there, or was answered before; nothing has changed.
    Unchanged,
}

impl Books<'_> {
    /// Begins a keyed request that makes `subject`. If what the key had made before was `abandoned`, the key begins anew.
    pub(crate) fn key_begin(
        &mut self,
        request: &IdempotencyRequest,
        subject: Option<Uuid>,
        abandoned: Option<Uuid>,
    ) -> Result<KeyBegun, Refusal> {
        let stored = self.rows.idempotency_keys.get(&request.id)?;
        let stored =
            stored.filter(|stored| abandoned.is_none_or(|abandoned| !stored.is_begun_as(request, abandoned)));
        match request.begin(stored, subject, self.now())? {
            Begin::New(record) => {
                self.rows.idempotency_keys.put(record)?;
                Ok(KeyBegun::New)
            }
            Begin::Resume(record) => {
                let subject = record.subject;
                self.rows.idempotency_keys.put(record)?;
                Ok(KeyBegun::Resumed { subject })
            }
            Begin::Replay(response) => Ok(KeyBegun::Replayed(response)),
        }
    }

    /// Whether the key is not stored any more, or its request has made `subject` and no other.
    pub(crate) fn key_is_of(&self, id: &IdempotencyId, subject: Uuid) -> Result<bool, Refusal> {
        let stored = self.rows.idempotency_keys.get(id)?;
        Ok(stored.is_none_or(|record| record.subject == Some(subject)))
    }

    /// Lets a key be as old as what it is for.
    pub(crate) fn key_date_back(&mut self, id: &IdempotencyId, created_at: Timestamp) -> Result<(), Refusal> {
        let Some(stored) = self.rows.idempotency_keys.get(id)?.cloned() else { return Ok(()) };
        let created_at = created_at.min(stored.created_at);
        self.rows.idempotency_keys.put(IdempotencyRecord { created_at, ..stored })
    }

    /// Lets an unanswered key belong to `subject`, until `lease_until`.
    pub(crate) fn key_hold(
        &mut self,
        id: &IdempotencyId,
        subject: Uuid,
        lease_until: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(stored) = self.rows.idempotency_keys.get(id)?.cloned() else { return Ok(()) };
        if !matches!(stored.state, IdempotencyState::InProgress { .. }) {
            return Ok(());
        }
        let state = IdempotencyState::InProgress { lease_until };
        self.rows.idempotency_keys.put(IdempotencyRecord { state, subject: Some(subject), ..stored })
    }

    /// Keeps an unanswered key until `expires_at` at least.
    pub(crate) fn key_keep(&mut self, id: &IdempotencyId, expires_at: Timestamp) -> Result<(), Refusal> {
        let stored = self.rows.idempotency_keys.get(id)?.cloned();
        let Some(record) = stored.filter(|record| record.expires_at < expires_at) else { return Ok(()) };
        self.rows.idempotency_keys.put(IdempotencyRecord { expires_at, ..record })
    }

    /// Stores the response to a keyed request. The first one stays: it is what the client was given.
    pub(crate) fn key_finish(
        &mut self,
        id: &IdempotencyId,
        response: &StoredResponse,
    ) -> Result<KeyChange, Refusal> {
        self.key_change(id, IdempotencyState::Done(response.clone()))
    }

    /// Ends the lease of a keyed request that failed, so that a retry may begin at once.
    pub(crate) fn key_release(&mut self, id: &IdempotencyId) -> Result<KeyChange, Refusal> {
        self.key_change(id, IdempotencyState::InProgress { lease_until: self.now() })
    }

    /// As [`Self::key_release`], of a request that certainly has done nothing: what it has made is forgotten, so that it is told apart from
    /// one that was abandoned.
    pub(crate) fn key_free(&mut self, id: &IdempotencyId) -> Result<(), Refusal> {
        self.key_release(id)?;
        let stored = self.rows.idempotency_keys.get(id)?.cloned();
        let unanswered = stored.filter(|record| matches!(record.state, IdempotencyState::InProgress { .. }));
        let Some(record) = unanswered else { return Ok(()) };
        self.rows.idempotency_keys.put(IdempotencyRecord { subject: None, ..record })
    }

    fn key_change(&mut self, id: &IdempotencyId, state: IdempotencyState) -> Result<KeyChange, Refusal> {
        let stored = self.rows.idempotency_keys.get(id)?.cloned();
        let unanswered =
            |record: &IdempotencyRecord| matches!(record.state, IdempotencyState::InProgress { .. });
        let Some(record) = stored.filter(unanswered) else { return Ok(KeyChange::Unchanged) };
        self.rows.idempotency_keys.put(IdempotencyRecord { state, ..record })?;
        Ok(KeyChange::Changed)
    }
}
