-- Prepaid sessions. The balance is the account session:<id>; what may be spent of it follows from that and is not kept.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    nostr_pubkey TEXT REFERENCES nostr_identities (pubkey),
    -- What the first invoice asks for.
    deposit_msats BIGINT NOT NULL CHECK (deposit_msats > 0),
    state TEXT NOT NULL CHECK (state IN ('awaiting_payment', 'active', 'closed', 'expired')),
    deposit_invoice TEXT,
    -- The top-up that is unpaid.
    top_up_invoice TEXT,
    -- How many top-up invoices there have been.
    top_ups BIGINT NOT NULL CHECK (top_ups >= 0),
    -- Everything that was ever paid in; and, of an ended session, what is owed to the customer and what no payment can carry.
    paid_in_msats BIGINT NOT NULL CHECK (paid_in_msats >= 0),
    refund_amount_msats BIGINT NOT NULL CHECK (refund_amount_msats >= 0),
    rounding_msats BIGINT NOT NULL CHECK (rounding_msats >= 0),
    -- To about a minute.
    last_used_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CHECK (refund_amount_msats + rounding_msats <= paid_in_msats),
    CHECK (state IN ('closed', 'expired') OR (refund_amount_msats = 0 AND rounding_msats = 0))
) WITHOUT ROWID;

CREATE INDEX sessions_never_invoiced ON sessions (created_at)
    WHERE state = 'awaiting_payment' AND deposit_invoice IS NULL;
CREATE INDEX sessions_idle ON sessions (last_used_at) WHERE state = 'active';
CREATE INDEX sessions_unpaid ON sessions (updated_at) WHERE state = 'expired' AND paid_in_msats = 0;
CREATE INDEX sessions_by_identity ON sessions (nostr_pubkey) WHERE nostr_pubkey IS NOT NULL;

-- Macaroons that were narrowed from a session's own, and used: what was spent with each and with what was narrowed from it.
CREATE TABLE session_keys (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    key_id TEXT NOT NULL,
    parent_key_id TEXT,
    -- One a line, oldest first.
    caveats TEXT NOT NULL,
    spent_msats BIGINT NOT NULL CHECK (spent_msats >= 0),
    requests BIGINT NOT NULL CHECK (requests >= 0),
    -- The three amounts are of the hour, the day and the month (UTC) that contain this time.
    counted_at BIGINT,
    hour_spent_msats BIGINT NOT NULL CHECK (hour_spent_msats BETWEEN 0 AND day_spent_msats),
    day_spent_msats BIGINT NOT NULL CHECK (day_spent_msats BETWEEN 0 AND month_spent_msats),
    month_spent_msats BIGINT NOT NULL CHECK (month_spent_msats BETWEEN 0 AND spent_msats),
    -- What running requests may cost, and how many there are.
    reserved_msats BIGINT NOT NULL CHECK (reserved_msats >= 0),
    running BIGINT NOT NULL CHECK (running >= 0),
    revoked_at BIGINT,
    first_used_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (session_id, key_id)
) WITHOUT ROWID;

-- What was charged to sessions. A request has the id of its hold.
CREATE TABLE session_requests (
    id TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    model TEXT NOT NULL,
    -- The most that it can cost.
    limit_msats BIGINT NOT NULL CHECK (limit_msats > 0),
    -- The keys that it counts against, separated by commas.
    key_ids TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'rejected', 'failed')),
    cost_msats BIGINT CHECK ((cost_msats IS NOT NULL) = (state IN ('complete', 'rejected'))),
    charged_msats BIGINT CHECK (charged_msats BETWEEN 0 AND limit_msats),
    absorbed_msats BIGINT CHECK (absorbed_msats >= 0),
    actual_input_tokens BIGINT,
    actual_cached_input_tokens BIGINT,
    actual_output_tokens BIGINT,
    usage_estimated BOOLEAN NOT NULL,
    finish_reason TEXT CHECK (finish_reason IN ('stop', 'length', 'content_filter', 'interrupted')),
    -- Why it was rejected, or has failed.
    reason TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- The long text last, so that what is before it is read without it.
    result TEXT,
    CHECK ((cost_msats IS NULL) = (charged_msats IS NULL) AND (cost_msats IS NULL) = (absorbed_msats IS NULL)),
    CHECK ((state = 'complete') = (result IS NOT NULL))
);

CREATE INDEX session_requests_by_session ON session_requests (session_id, id);
