//! Deleting customers' texts.

use super::{MemoryStore, Tables};
use async_trait::async_trait;
use tithe_clock::Timestamp;
use tithe_engine::records::{
    IdempotencyRecord, IdempotencyState, StoredResponse, TextDeletion, TextOwner, TextsFound,
};
use tithe_engine::store::{StoreError, TextStore};
use tithe_jobs::Job;
use tithe_sessions::{KeptRequest, KeptState, RequestState, SessionId, SessionRequest};

impl Tables {
    /// The sessions of an owner.
    fn text_sessions(&self, owner: &TextOwner) -> Vec<SessionId> {
        match owner {
            TextOwner::Session(session) => vec![*session],
            TextOwner::Identity(pubkey) => {
                let sessions = self.sessions.values().filter(|session| session.identity == Some(*pubkey));
                sessions.map(|session| session.id).collect()
            }
            TextOwner::Job(_) | TextOwner::Install(_) => Vec::new(),
        }
    }

    fn found(&mut self, owner: &TextOwner, until: Timestamp) -> Found<'_> {
        let sessions = self.text_sessions(owner);
        let of_job = |job: &&mut Job| {
            let is_theirs = match owner {
                TextOwner::Identity(pubkey) => job.identity == Some(*pubkey),
                TextOwner::Job(id) => job.id == *id,
                TextOwner::Session(_) | TextOwner::Install(_) => false,
            };
            is_theirs && job.text_deleted_at.is_none() && job.created_at <= until
        };
        let of_session = |request: &&mut SessionRequest| {
            sessions.contains(&request.session)
                && request.text_deleted_at.is_none()
                && request.created_at <= until
        };
        let has_response = |record: &&mut IdempotencyRecord| {
            let payers = record.id.scope.split(' ');
            let of_payers = payers.map(|payer| match owner {
                TextOwner::Install(install) => payer == format!("install:{install}"),
                TextOwner::Identity(pubkey) if payer == format!("nostr:{pubkey}") => true,
                _ => sessions.iter().any(|session| {
                    payer == format!("session:{session}") || payer.starts_with(&format!("session:{session}:"))
                }),
            });
            let deleted = record.state == IdempotencyState::Done(StoredResponse::deleted());
            !matches!(owner, TextOwner::Job(_))
                && of_payers.into_iter().any(|owned| owned)
                && !deleted
                && record.created_at <= until
        };
        let is_kept = |kept: &&mut KeptRequest| {
            let is_theirs = match owner {
                TextOwner::Identity(pubkey) => kept.identity == Some(*pubkey),
                TextOwner::Session(session) => kept.session == *session,
                TextOwner::Job(_) | TextOwner::Install(_) => false,
            };
            is_theirs && kept.state != KeptState::Ended && kept.created_at <= until
        };
        Found {
            kept: self.kept_requests.values_mut().filter(is_kept).collect(),
            jobs: self.jobs.values_mut().filter(of_job).collect(),
            requests: self.session_requests.values_mut().filter(of_session).collect(),
            responses: self.idempotency_keys.values_mut().filter(has_response).collect(),
        }
    }
}

/// What has an owner's texts.
struct Found<'a> {
    jobs: Vec<&'a mut Job>,
    requests: Vec<&'a mut SessionRequest>,
    responses: Vec<&'a mut IdempotencyRecord>,
    kept: Vec<&'a mut KeptRequest>,
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a small number")
}

#[async_trait]
impl TextStore for MemoryStore {
    async fn texts_found(&self, owner: &TextOwner, until: Timestamp) -> Result<TextsFound, StoreError> {
        let mut tables = self.tables();
        let found = tables.found(owner, until);
        let jobs = found.jobs.iter().filter(|job| job.state.name().is_terminal()).count();
        let requests = found.requests.iter().filter(|row| row.state != RequestState::Running).count();
        let responses = found.responses.iter();
        let responses = responses.filter(|row| matches!(row.state, IdempotencyState::Done(_))).count();
        let kept = found.kept.iter().filter(|row| row.state == KeptState::Offered).count();
        let all = found.jobs.len() + found.requests.len() + found.responses.len() + found.kept.len();
        Ok(TextsFound {
            jobs: number(jobs),
            session_requests: number(requests + kept),
            responses: number(responses),
            running: number(all - jobs - requests - responses - kept),
        })
    }

    async fn texts_delete(
        &self,
        owner: &TextOwner,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<TextsFound, StoreError> {
        let mut tables = self.tables();
        let Found { jobs, requests, responses, kept } = tables.found(owner, until);
        let jobs = jobs.into_iter().filter_map(|job| job.without_texts(now).map(|gone| *job = gone));
        let requests = requests.into_iter().filter_map(|row| row.without_text(now).map(|gone| *row = gone));
        let done = responses.into_iter().filter(|row| matches!(row.state, IdempotencyState::Done(_)));
        let responses = done.map(|row| row.state = IdempotencyState::Done(StoredResponse::deleted()));
        let unpaid = kept.into_iter().filter(|row| row.state == KeptState::Offered);
        let kept = unpaid.map(|row| *row = row.ended(now));
        Ok(TextsFound {
            jobs: number(jobs.take(limit).count()),
            session_requests: number(requests.take(limit).count() + kept.take(limit).count()),
            responses: number(responses.take(limit).count()),
            running: 0,
        })
    }

    async fn deleted_texts_overwrite(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn text_deletion_record(&self, deletion: &TextDeletion) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let before = tables.text_deletions.get(&deletion.owner).cloned();
        let mut now = deletion.clone();
        if let Some(before) = before {
            now.deleted = now.deleted.and(before.deleted);
            if before.requested_at > deletion.requested_at {
                (now.requested_at, now.finished_at) = (before.requested_at, before.finished_at);
            }
        }
        now.deleted.running = 0;
        tables.text_deletions.insert(deletion.owner, now);
        Ok(())
    }

    async fn text_deletion(&self, owner: &TextOwner) -> Result<Option<TextDeletion>, StoreError> {
        Ok(self.tables().text_deletions.get(owner).cloned())
    }

    async fn text_deletions_unfinished(&self, limit: usize) -> Result<Vec<TextDeletion>, StoreError> {
        let tables = self.tables();
        let open = tables.text_deletions.values().filter(|deletion| deletion.finished_at.is_none());
        let mut open: Vec<TextDeletion> = open.cloned().collect();
        open.sort_by_key(|deletion| deletion.requested_at);
        open.truncate(limit);
        Ok(open)
    }
}
