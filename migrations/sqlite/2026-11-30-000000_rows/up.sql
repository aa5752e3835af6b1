-- When the texts of a job, or of a request of a session, were deleted. They are empty since; everything else stays.
ALTER TABLE jobs ADD COLUMN text_deleted_at BIGINT;
ALTER TABLE session_requests ADD COLUMN text_deleted_at BIGINT;

-- What still has a text, oldest first. Neither column changes while work runs.
CREATE INDEX jobs_with_text ON jobs (created_at) WHERE text_deleted_at IS NULL;
CREATE INDEX session_requests_with_text ON session_requests (created_at) WHERE text_deleted_at IS NULL;

-- Whose texts were deleted on request, without the texts: everything that was made until requested_at. finished_at is null while something
-- of it still runs; the servers go on with it.
CREATE TABLE text_deletions (
    -- identity:<key>, session:<id>, job:<id> or install:<id>.
    owner TEXT NOT NULL PRIMARY KEY,
    requested_at BIGINT NOT NULL,
    finished_at BIGINT,
    -- How many texts were deleted, altogether.
    jobs BIGINT NOT NULL CHECK (jobs >= 0),
    session_requests BIGINT NOT NULL CHECK (session_requests >= 0),
    responses BIGINT NOT NULL CHECK (responses >= 0)
) WITHOUT ROWID;

CREATE INDEX text_deletions_open ON text_deletions (requested_at) WHERE finished_at IS NULL;

-- The same columns in an ordinary table. Without a rowid, a row of more than about 1 kB takes a page of its own, and many responses are
-- longer than that. The rows are those of one day.
CREATE TABLE idempotency_keys_by_rowid (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    subject TEXT,
    lease_until BIGINT,
    answer_status INTEGER,
    answer_body TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((lease_until IS NULL) = (answer_status IS NOT NULL)),
    CHECK ((answer_status IS NULL) = (answer_body IS NULL))
);
INSERT INTO idempotency_keys_by_rowid
SELECT scope, key, fingerprint, subject, lease_until, answer_status, answer_body, created_at, expires_at FROM idempotency_keys;
DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_by_rowid RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
