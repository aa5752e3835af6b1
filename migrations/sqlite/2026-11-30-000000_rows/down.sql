DROP TABLE text_deletions;
DROP INDEX jobs_with_text;
DROP INDEX session_requests_with_text;
ALTER TABLE jobs DROP COLUMN text_deleted_at;
ALTER TABLE session_requests DROP COLUMN text_deleted_at;
