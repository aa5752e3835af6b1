-- Fails while a payment is held or may be: no older release knows what it is for.
ALTER TABLE kept_requests ADD COLUMN none_is_open BIGINT CHECK (state = 'ended');
DROP TABLE kept_requests;
