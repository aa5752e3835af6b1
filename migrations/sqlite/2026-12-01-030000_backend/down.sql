ALTER TABLE session_requests DROP COLUMN backend;
