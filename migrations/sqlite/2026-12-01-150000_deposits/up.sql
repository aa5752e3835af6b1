-- Two more kinds of sessions: deposits of the scheme `Payment` that are not opened, and opened ones, with the invoice (BOLT11, without an
-- amount) that what is left is paid to, set once. A deposit may also have topped another session up, which has its money then.
-- SQLite cannot change the check of a column: the column, and those whose checks name it, are made anew.
DROP INDEX sessions_idle;
ALTER TABLE sessions ADD COLUMN new_kind TEXT NOT NULL DEFAULT 'prepaid'
    CHECK (new_kind IN ('prepaid', 'one_request', 'deposit', 'payment'));
ALTER TABLE sessions ADD COLUMN new_request_digest TEXT CHECK (
    (new_request_digest IS NOT NULL) = (new_kind = 'one_request')
    AND (new_request_digest IS NULL
        OR (length(new_request_digest) = 64 AND top_ups = 0 AND top_up_invoice IS NULL AND webhook_url IS NULL))
);
ALTER TABLE sessions ADD COLUMN new_request_terms TEXT CHECK ((new_request_terms IS NOT NULL) = (new_kind = 'one_request'));
UPDATE sessions SET new_kind = kind, new_request_digest = request_digest, new_request_terms = request_terms;
ALTER TABLE sessions DROP COLUMN request_terms;
ALTER TABLE sessions DROP COLUMN request_digest;
ALTER TABLE sessions DROP COLUMN kind;
ALTER TABLE sessions RENAME COLUMN new_kind TO kind;
ALTER TABLE sessions RENAME COLUMN new_request_digest TO request_digest;
ALTER TABLE sessions RENAME COLUMN new_request_terms TO request_terms;
CREATE INDEX sessions_idle ON sessions (kind, last_used_at) WHERE state = 'active';
ALTER TABLE sessions ADD COLUMN return_invoice TEXT CHECK (
    (return_invoice IS NOT NULL) = (kind = 'payment')
    AND (kind NOT IN ('deposit', 'payment') OR (top_ups = 0 AND top_up_invoice IS NULL AND webhook_url IS NULL))
);
ALTER TABLE sessions ADD COLUMN topped_up TEXT CHECK (
    topped_up IS NULL OR (kind IN ('deposit', 'payment') AND state = 'closed')
);
