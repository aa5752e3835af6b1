-- What is owed to customers, by the account that the money came from. Rows are never deleted.
CREATE TABLE obligations (
    account TEXT NOT NULL PRIMARY KEY,
    -- What was ever owed, and what of it is due still, with what is in flight.
    accrued_msats BIGINT NOT NULL CHECK (accrued_msats >= 0),
    due_msats BIGINT NOT NULL CHECK (due_msats >= 0 AND due_msats <= accrued_msats),
    -- An invoice or a Lightning address.
    destination TEXT,
    -- Payment hashes of payouts.
    in_flight TEXT,
    last_paid TEXT,
    failures BIGINT NOT NULL CHECK (failures >= 0),
    next_try_at BIGINT NOT NULL,
    problem TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX obligations_payable ON obligations (next_try_at)
    WHERE due_msats > 0 AND destination IS NOT NULL AND in_flight IS NULL;
CREATE INDEX obligations_due ON obligations (account) WHERE due_msats > 0;

-- Payments to customers.
CREATE TABLE payouts (
    payment_hash TEXT NOT NULL PRIMARY KEY,
    -- Our id of the last attempt.
    id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES obligations (account),
    bolt11 TEXT NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    fee_limit_msats BIGINT NOT NULL CHECK (fee_limit_msats >= 0),
    state TEXT NOT NULL CHECK (state IN ('paying', 'paid', 'failed')),
    paying_since BIGINT CHECK ((paying_since IS NOT NULL) = (state = 'paying')),
    preimage TEXT CHECK ((preimage IS NOT NULL) = (state = 'paid')),
    fee_msats BIGINT CHECK (fee_msats >= 0 AND (fee_msats IS NOT NULL) = (state = 'paid')),
    error_message TEXT CHECK ((error_message IS NOT NULL) = (state = 'failed')),
    attempts BIGINT NOT NULL CHECK (attempts > 0),
    looks BIGINT NOT NULL CHECK (looks >= 0),
    next_look_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITHOUT ROWID;

-- An obligation has at most one payment in flight.
CREATE UNIQUE INDEX payouts_one_in_flight ON payouts (account) WHERE state = 'paying';
CREATE INDEX payouts_in_flight ON payouts (next_look_at) WHERE state = 'paying';
CREATE INDEX payouts_by_account ON payouts (account);

-- What is owed from before this table existed.
INSERT INTO obligations (account, accrued_msats, due_msats, failures, next_try_at, created_at, updated_at)
SELECT debit, SUM(amount_msats), SUM(amount_msats), 0, 0, MIN(created_at), MAX(created_at)
FROM transfers WHERE kind = 'refund_accrued' GROUP BY debit;

CREATE INDEX transfers_of_wallet ON transfers (created_at) WHERE debit = 'wallet' OR credit = 'wallet';

-- The Lightning address to which what a session has left at its end is paid.
ALTER TABLE sessions ADD COLUMN return_to TEXT;
