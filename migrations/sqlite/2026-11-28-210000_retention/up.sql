-- Invoices whose time ended within a window: a poll reads those, and not all that ever expired.
DROP INDEX invoices_lapsed;
CREATE INDEX invoices_expired ON invoices (expires_at, payment_hash) WHERE state = 'expired';

-- Unpaid invoices whose time is not over: they are counted when a job is created.
CREATE INDEX invoices_open ON invoices (expires_at) WHERE state = 'pending';

-- What is deleted: the texts of expired jobs, and jobs that nothing was paid for.
CREATE INDEX jobs_expired_texts ON jobs (id) WHERE state = 'expired' AND request <> '';
CREATE INDEX jobs_unpaid ON jobs (updated_at)
    WHERE state = 'expired' AND work_terms IS NULL AND refund_state = 'not_applicable';

-- The jobs of an identity, newest first: ids begin with the time.
DROP INDEX jobs_of_identity;
CREATE INDEX jobs_by_identity ON jobs (nostr_pubkey, id) WHERE nostr_pubkey IS NOT NULL;

-- Whether the backend reported no usage, so that the tokens were counted.
ALTER TABLE jobs ADD COLUMN usage_estimated BOOLEAN NOT NULL DEFAULT FALSE;

-- One row without a meaning, which is written to see whether the database takes writes.
CREATE TABLE server_health (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    checked_at BIGINT NOT NULL
);
