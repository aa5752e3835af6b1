-- Nothing here rewrites a table. The two indexes are built under a lock that lets others read and not write, for about a second for each
-- million jobs: docs/operating/size.md says how to build them beforehand without one.

-- When the texts of a job, or of a request of a session, were deleted. They are empty since; everything else stays.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS text_deleted_at BIGINT;
ALTER TABLE session_requests ADD COLUMN IF NOT EXISTS text_deleted_at BIGINT;

-- What still has a text, oldest first. Neither column changes while work runs, so that the index adds nothing to an update.
CREATE INDEX IF NOT EXISTS jobs_with_text ON jobs (created_at) WHERE text_deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS session_requests_with_text ON session_requests (created_at) WHERE text_deleted_at IS NULL;

-- Whose texts were deleted on request, without the texts: everything that was made until requested_at. finished_at is null while something
-- of it still runs; the servers go on with it.
CREATE TABLE text_deletions (
    -- identity:<key>, session:<id>, job:<id> or install:<id>.
    owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    requested_at BIGINT NOT NULL,
    finished_at BIGINT,
    -- How many texts were deleted, altogether.
    jobs BIGINT NOT NULL CHECK (jobs >= 0),
    session_requests BIGINT NOT NULL CHECK (session_requests >= 0),
    responses BIGINT NOT NULL CHECK (responses >= 0)
);

CREATE INDEX text_deletions_open ON text_deletions (requested_at) WHERE finished_at IS NULL;

-- A request of a session is written twice. Its second version fits on the page of its first.
ALTER TABLE session_requests SET (fillfactor = 60);

-- A row that is updated is written anew. The versions that nobody sees any more are cleared away, and their space is used again, once they
-- are 2 % of a table, and not 20 %.
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE session_requests SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE invoices SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE holds SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE free_tier_reservations SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE credits SET (autovacuum_vacuum_scale_factor = 0.02);
