ALTER TABLE jobs DROP COLUMN finish_reason;
