ALTER TABLE jobs DROP COLUMN actual_buckets;
ALTER TABLE session_requests DROP COLUMN actual_buckets;
