-- Work that is paid with a hold invoice. Null: the work is paid beforehand. Otherwise JSON, whose `step` is `chosen` before a payment is held
-- and after it has ended, and `held` (with the time until which the work must be done, in microseconds), `settling` (with the price of the
-- work, which is done) or `cancelling` while it is. The state is `executing` then: a server of an older release cannot end such a job,
-- because its state may not change while the step stays.
ALTER TABLE jobs ADD COLUMN held_payment TEXT CHECK (
    held_payment IS NULL
    OR json_extract(held_payment, '$.step') = 'chosen'
    OR (json_extract(held_payment, '$.step') IN ('held', 'settling', 'cancelling') AND state = 'executing' AND work_invoice IS NOT NULL)
);
-- The hold invoices that may be paid or are.
CREATE INDEX jobs_held ON jobs (id) WHERE held_payment IS NOT NULL AND state IN ('awaiting_work_payment', 'executing');
