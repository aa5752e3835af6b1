DROP INDEX sessions_idle;
CREATE INDEX sessions_idle ON sessions (last_used_at) WHERE state = 'active';
ALTER TABLE sessions DROP COLUMN request_terms;
ALTER TABLE sessions DROP COLUMN request_digest;
ALTER TABLE sessions DROP COLUMN kind;
