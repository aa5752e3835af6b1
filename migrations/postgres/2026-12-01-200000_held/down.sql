-- Fails if there are jobs whose payment is held: no older release knows them.
ALTER TABLE jobs ADD COLUMN no_held_payments BIGINT CHECK (held_payment IS NULL OR held_payment = '{"step":"chosen"}');
ALTER TABLE jobs DROP COLUMN no_held_payments;
DROP INDEX jobs_held;
ALTER TABLE jobs DROP COLUMN held_payment;
