-- Work that is paid with a hold invoice. Null: the work is paid beforehand. Otherwise JSON, whose `step` is `chosen` before a payment is held
-- and after it has ended, and `held` (with the time until which the work must be done, in microseconds), `settling` (with the price of the
-- work, which is done) or `cancelling` while it is. The state is `awaiting_work_payment` then, and may not change while the step stays: a
-- server of an older release does not claim such a job, and can neither credit its payment nor end it.
ALTER TABLE jobs ADD COLUMN held_payment TEXT CHECK (
    held_payment IS NULL
    OR held_payment = '{"step":"chosen"}'
    OR (
        state = 'awaiting_work_payment' AND work_invoice IS NOT NULL
        AND CASE json_extract(held_payment, '$.step')
            WHEN 'held' THEN TRUE WHEN 'settling' THEN result IS NOT NULL WHEN 'cancelling' THEN error_message IS NOT NULL ELSE FALSE
        END
    )
);
-- The hold invoices that may be paid or are.
CREATE INDEX jobs_held ON jobs (updated_at) WHERE state = 'awaiting_work_payment' AND held_payment IS NOT NULL;
