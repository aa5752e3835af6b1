-- Fails if there are jobs whose payment is held: no older release knows them.
DROP INDEX jobs_held;
ALTER TABLE jobs ADD COLUMN no_held_payments BIGINT CHECK (held_step IS NULL);
ALTER TABLE jobs DROP COLUMN no_held_payments;
ALTER TABLE jobs DROP COLUMN held_price;
ALTER TABLE jobs DROP COLUMN held_until;
ALTER TABLE jobs DROP COLUMN held_step;
ALTER TABLE jobs DROP COLUMN work_payment;
