//! Steps of jobs, for who follows them.

use super::Reader;
use crate::schema::outbox;
use diesel::prelude::*;
use tithe_engine::store::StoreError;
use tithe_jobs::{JobChange, JobId};

/// The topic of jobs' steps.
pub const JOB_TOPIC: &str = "job";

#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox)]
pub struct OutboxRow {
    pub subject: String,
    pub revision: i64,
    pub state: String,
    pub created_at: i64,
}

#[derive(Insertable)]
#[diesel(table_name = outbox)]
pub struct NewOutboxRow {
    pub topic: &'static str,
    pub subject: String,
    pub revision: i64,
    pub state: &'static str,
    pub created_at: i64,
}

impl From<&JobChange> for NewOutboxRow {
    fn from(change: &JobChange) -> Self {
        Self {
            topic: JOB_TOPIC,
            subject: change.job.to_string(),
            revision: change.revision.into(),
            state: change.state.as_str(),
            created_at: change.at.unix_micros(),
        }
    }
}

impl TryFrom<OutboxRow> for JobChange {
    type Error = StoreError;

    fn try_from(row: OutboxRow) -> Result<Self, StoreError> {
        let read = Reader::new("step of job", &row.subject);
        Ok(Self {
            job: JobId(read.column("subject", row.subject.parse())?),
            revision: read.column("revision", row.revision.try_into())?,
            state: read.column("state", row.state.parse())?,
            at: read.time("created_at", row.created_at)?,
        })
    }
}
