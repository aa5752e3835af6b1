-- Fails if there are sessions of the new kinds: no older release knows them.
ALTER TABLE sessions DROP COLUMN topped_up;
ALTER TABLE sessions DROP COLUMN return_invoice;
DROP INDEX sessions_idle;
ALTER TABLE sessions ADD COLUMN new_kind TEXT NOT NULL DEFAULT 'prepaid'
    CHECK (new_kind IN ('prepaid', 'one_request'));
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
