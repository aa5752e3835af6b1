-- Two more kinds of sessions: deposits of the scheme `Payment` that are not opened, and opened ones, with the invoice (BOLT11, without an
-- amount) that what is left is paid to, set once. A deposit may also have topped another session up, which has its money then.
ALTER TABLE sessions DROP CONSTRAINT IF EXISTS sessions_kind_check;
ALTER TABLE sessions ADD CONSTRAINT sessions_kind_check CHECK (kind IN ('prepaid', 'one_request', 'deposit', 'payment'));
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS return_invoice TEXT CHECK (
    (return_invoice IS NOT NULL) = (kind = 'payment')
    AND (kind NOT IN ('deposit', 'payment') OR (top_ups = 0 AND top_up_invoice IS NULL AND webhook_url IS NULL))
);
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS topped_up TEXT COLLATE "C" CHECK (
    topped_up IS NULL OR (kind IN ('deposit', 'payment') AND state = 'closed')
);
