//! The statements that delete customers' texts. They are the same on both databases but for what [`Sql`] writes.

#![expect(missing_docs, reason = "a row's fields are its table's columns")]

use crate::rows::Reader;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use tithe_engine::records::{TextDeletion, TextOwner, TextsFound};
use tithe_engine::store::StoreError;

/// Ended jobs that have their texts. Those that never end do not exist: each step has a deadline.
pub const ENDED_JOBS: &str =
    "text_deleted_at IS NULL AND state IN ('rejected', 'complete', 'failed', 'expired')";

/// Ended requests of sessions that have their texts.
pub const ENDED_REQUESTS: &str = "text_deleted_at IS NULL AND state <> 'running'";

/// A response that was deleted has this status, and no body ([`tithe_engine::records::StoredResponse::deleted`]).
const HAS_BODY: &str = "answer_body IS NOT NULL AND answer_body <> ''";

/// An empty text where there is one.
const NO_JOB_TEXTS: &str = "request = '', result = substr(result, 1, 0), \
    rejection_reason = substr(rejection_reason, 1, 0), error_message = substr(error_message, 1, 0)";
const NO_REQUEST_TEXT: &str = "result = substr(result, 1, 0), reason = substr(reason, 1, 0)";

/// How one of the databases is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sql {
    /// Parameters are `?1`; a transaction has the database for itself.
    Sqlite,
    /// Parameters are `$1`; rows that somebody else has locked are left for the next time.
    Postgres,
}

/// A number of rows.
#[derive(QueryableByName)]
pub struct CountRow {
    #[diesel(sql_type = BigInt)]
    pub ended: i64,
    #[diesel(sql_type = BigInt)]
    pub running: i64,
}

/// What was found, or deleted, by each of [`owner_statements`]: the numbers of what has ended, and of what runs. Kept requests count as
/// requests of sessions.
#[must_use]
pub fn found(counts: [(u64, u64); 4]) -> TextsFound {
    let [jobs, requests, responses, kept] = counts;
    TextsFound {
        jobs: jobs.0,
        session_requests: requests.0.saturating_add(kept.0),
        responses: responses.0,
        running: [jobs, requests, responses, kept].iter().fold(0, |sum, counts| sum.saturating_add(counts.1)),
    }
}

impl CountRow {
    /// Both numbers.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (u64::try_from(self.ended).unwrap_or_default(), u64::try_from(self.running).unwrap_or_default())
    }
}

/// A request for a deletion.
#[derive(QueryableByName)]
pub struct TextDeletionRow {
    #[diesel(sql_type = Text)]
    pub owner: String,
    #[diesel(sql_type = BigInt)]
    pub requested_at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub finished_at: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub jobs: i64,
    #[diesel(sql_type = BigInt)]
    pub session_requests: i64,
    #[diesel(sql_type = BigInt)]
    pub responses: i64,
}

impl TryFrom<TextDeletionRow> for TextDeletion {
    type Error = StoreError;

    fn try_from(row: TextDeletionRow) -> Result<Self, StoreError> {
        let read = Reader::new("text deletion", &row.owner);
        Ok(Self {
            owner: read.column("owner", row.owner.parse())?,
            requested_at: read.time("requested_at", row.requested_at)?,
            finished_at: row.finished_at.map(|at| read.time("finished_at", at)).transpose()?,
            deleted: TextsFound {
                jobs: read.count("jobs", row.jobs)?,
                session_requests: read.count("session_requests", row.session_requests)?,
                responses: read.count("responses", row.responses)?,
                running: 0,
            },
        })
    }
}

/// The statements about one owner's rows in one table: parameter 1 is [`owner_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerStatements {
    /// Counts what has ended and what runs; parameter 2 is the last time at which it was made.
    pub count: String,
    /// Deletes the texts of what has ended; parameters 2 to 4 are that time, now, and the limit.
    pub delete: String,
}

/// The statements about an owner's jobs, requests of sessions, stored responses, and kept requests; `None` where such an owner has none.
#[must_use]
pub fn owner_statements(sql: Sql, owner: &TextOwner) -> [Option<OwnerStatements>; 4] {
    let jobs = match owner {
        TextOwner::Identity(_) => Some("nostr_pubkey = $1"),
        TextOwner::Job(_) => Some("id = $1"),
        TextOwner::Session(_) | TextOwner::Install(_) => None,
    };
    let requests = match owner {
        TextOwner::Identity(_) => Some("session_id IN (SELECT id FROM sessions WHERE nostr_pubkey = $1)"),
        TextOwner::Session(_) => Some("session_id = $1"),
        TextOwner::Job(_) | TextOwner::Install(_) => None,
    };
    // The response to the creation of a job holds no text of the customer's.
    let responses = match owner {
        TextOwner::Identity(_) => Some(
            "(scope = 'nostr:' || $1 OR scope LIKE '% nostr:' || $1 OR EXISTS (SELECT 1 FROM sessions \
             WHERE sessions.nostr_pubkey = $1 AND sessions.id = substr(scope, 9, 36) AND substr(scope, 1, 8) = 'session:'))",
        ),
        TextOwner::Session(_) => {
            Some("(scope = 'session:' || $1 OR substr(scope, 1, 45) = 'session:' || $1 || ':')")
        }
        TextOwner::Install(_) => {
            Some("(scope = 'install:' || $1 OR substr(scope, 1, 45) = 'install:' || $1 || ' ')")
        }
        TextOwner::Job(_) => None,
    };
    let kept_requests = match owner {
        TextOwner::Identity(_) => Some("nostr_pubkey = $1"),
        TextOwner::Session(_) => Some("session_id = $1"),
        TextOwner::Job(_) | TextOwner::Install(_) => None,
    };
    let statements =
        |table, owned: &str, ended: &str, kept: &str, clear: &str, key: &str, deleted_at: &str| {
            OwnerStatements {
                count: sql.write(&format!(
                    "SELECT coalesce(sum(CASE WHEN {ended} THEN 1 ELSE 0 END), 0) AS ended, \
             coalesce(sum(CASE WHEN {ended} THEN 0 ELSE 1 END), 0) AS running \
             FROM {table} WHERE {owned} AND {kept} AND created_at <= $2"
                )),
                delete: sql.write(&format!(
                    "UPDATE {table} SET {clear}{deleted_at} WHERE {key} {}",
                    sql.any(&format!(
                        "SELECT {key} FROM {table} WHERE {owned} AND {ended} AND created_at <= $2 LIMIT $4"
                    ))
                )),
            }
        };
    let (id, at) = ("id", ", text_deleted_at = $3");
    let has_text = "text_deleted_at IS NULL";
    [
        jobs.map(|owned| statements("jobs", owned, ENDED_JOBS, has_text, NO_JOB_TEXTS, id, at)),
        requests.map(|owned| {
            statements("session_requests", owned, ENDED_REQUESTS, has_text, NO_REQUEST_TEXT, id, at)
        }),
        responses.map(|owned| {
            // The key stays, so that the request is not done, and charged, again.
            let clear = "answer_status = 410, answer_body = ''";
            let kept = "(answer_body IS NULL OR answer_body <> '')";
            statements("idempotency_keys", owned, HAS_BODY, kept, clear, sql.row_id(), "")
        }),
        kept_requests.map(|owned| {
            // One that is not paid for ends with its text: a payment that is held for it later is given back.
            let clear = "state = 'ended', request = NULL, bytes = 0";
            let (unpaid, has_text) = ("state = 'offered'", "state <> 'ended'");
            statements("kept_requests", owned, unpaid, has_text, clear, "session_id", ", updated_at = $3")
        }),
    ]
}

/// The owner, as the statements of [`owner_statements`] take it.
#[must_use]
pub fn owner_key(owner: &TextOwner) -> String {
    match owner {
        TextOwner::Identity(pubkey) => pubkey.to_string(),
        TextOwner::Session(session) => session.to_string(),
        TextOwner::Job(job) => job.to_string(),
        TextOwner::Install(install) => install.to_string(),
    }
}

/// Delete the texts of what ended before the time in parameter 1, oldest first; parameters 2 and 3 are now and the limit.
#[must_use]
pub fn old_texts(sql: Sql) -> [String; 2] {
    let statement = |table, ended, clear| {
        let old = format!(
            "SELECT id FROM {table} WHERE {ended} AND created_at < $1 AND updated_at < $1 ORDER BY created_at LIMIT $3"
        );
        sql.write(&format!("UPDATE {table} SET {clear}, text_deleted_at = $2 WHERE id {}", sql.any(&old)))
    };
    [
        statement("jobs", ENDED_JOBS, NO_JOB_TEXTS),
        statement("session_requests", ENDED_REQUESTS, NO_REQUEST_TEXT),
    ]
}

/// Records a deletion: parameters 1 to 6 are the columns of [`TextDeletionRow`]. What was deleted is added to what was deleted before; an
/// earlier request for the same owner does not end a later one.
#[must_use]
pub fn record(sql: Sql) -> String {
    sql.write(
        "INSERT INTO text_deletions (owner, requested_at, finished_at, jobs, session_requests, responses) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner) DO UPDATE SET \
         finished_at = CASE WHEN text_deletions.requested_at <= excluded.requested_at \
             THEN excluded.finished_at ELSE text_deletions.finished_at END, \
         requested_at = CASE WHEN text_deletions.requested_at <= excluded.requested_at \
             THEN excluded.requested_at ELSE text_deletions.requested_at END, \
         jobs = text_deletions.jobs + excluded.jobs, \
         session_requests = text_deletions.session_requests + excluded.session_requests, \
         responses = text_deletions.responses + excluded.responses",
    )
}

/// Reads the deletion of the owner in parameter 1.
#[must_use]
pub fn recorded(sql: Sql) -> String {
    sql.write("SELECT owner, requested_at, finished_at, jobs, session_requests, responses FROM text_deletions WHERE owner = $1")
}

/// Reads deletions that are not finished; parameter 1 is the limit.
#[must_use]
pub fn unfinished(sql: Sql) -> String {
    sql.write(
        "SELECT owner, requested_at, finished_at, jobs, session_requests, responses FROM text_deletions \
         WHERE finished_at IS NULL ORDER BY requested_at LIMIT $1",
    )
}

impl Sql {
    /// What comes after the key: it is among the rows of a query with a limit, which is done once.
    fn any(self, query: &str) -> String {
        match self {
            Self::Sqlite => format!("IN ({query})"),
            Self::Postgres => format!("= ANY (ARRAY ({query} FOR UPDATE SKIP LOCKED))"),
        }
    }

    /// The parameters as this database numbers them.
    fn write(self, statement: &str) -> String {
        match self {
            Self::Sqlite => statement.replace('$', "?"),
            Self::Postgres => statement.to_owned(),
        }
    }

    /// The row itself, where its key has several columns.
    const fn row_id(self) -> &'static str {
        match self {
            Self::Sqlite => "rowid",
            Self::Postgres => "ctid",
        }
    }
}
