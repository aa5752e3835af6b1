-- Work that is paid with a hold invoice. The step of a job whose payment is held is beside the state, which is `executing`: a server of an
-- older release cannot end such a job, because its state may not change while the step stays.
ALTER TABLE jobs ADD COLUMN work_payment TEXT NOT NULL DEFAULT 'prepaid' CHECK (work_payment IN ('prepaid', 'held'));
ALTER TABLE jobs ADD COLUMN held_step TEXT CHECK (
    held_step IS NULL
    OR (held_step IN ('held', 'settling', 'cancelling') AND state = 'executing' AND work_payment = 'held' AND work_invoice IS NOT NULL)
);
-- When the work must be done.
ALTER TABLE jobs ADD COLUMN held_until BIGINT CHECK ((held_until IS NOT NULL) = (COALESCE(held_step, '') = 'held'));
-- The price of the work that is done, as JSON, until its payment is settled.
ALTER TABLE jobs ADD COLUMN held_price TEXT CHECK ((held_price IS NOT NULL) = (COALESCE(held_step, '') = 'settling'));
-- The hold invoices that may be paid or are.
CREATE INDEX jobs_held ON jobs (id)
    WHERE work_payment = 'held' AND (state = 'awaiting_work_payment' OR held_step IS NOT NULL);
