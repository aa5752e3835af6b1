-- Amounts are whole millisats (_msats) or micro-dollars (_usd_micros). Times are microseconds since 1970, UTC.
-- Ids are UUIDs, payment hashes and preimages 64 hex digits, in lower case.

CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    balance_msats BIGINT NOT NULL CHECK (balance_msats >= 0),
    held_msats BIGINT NOT NULL CHECK (held_msats >= 0 AND held_msats <= balance_msats)
) WITHOUT ROWID;

CREATE TABLE transfers (
    seq INTEGER NOT NULL PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CHECK (debit <> credit)
);

CREATE TRIGGER transfers_are_never_changed BEFORE UPDATE ON transfers
BEGIN SELECT RAISE(ABORT, 'transfers are never changed'); END;

CREATE TRIGGER transfers_are_never_deleted BEFORE DELETE ON transfers
BEGIN SELECT RAISE(ABORT, 'transfers are never deleted'); END;

CREATE TABLE holds (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    lease_until BIGINT CHECK ((lease_until IS NOT NULL) = (state = 'held')),
    charged_msats BIGINT CHECK (charged_msats >= 0),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX holds_live ON holds (lease_until) WHERE state = 'held';

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    max_output_tokens BIGINT,
    state TEXT NOT NULL CHECK (state IN (
        'awaiting_eval_payment', 'evaluating', 'accepted', 'awaiting_work_payment', 'executing',
        'rejected', 'complete', 'failed', 'expired')),
    eval_quote TEXT NOT NULL,
    eval_amount_msats BIGINT NOT NULL CHECK (eval_amount_msats >= 0),
    eval_invoice TEXT,
    work_terms TEXT,
    work_invoice TEXT,
    rejection_reason TEXT,
    error_message TEXT,
    actual_input_tokens BIGINT,
    actual_cached_input_tokens BIGINT,
    actual_output_tokens BIGINT,
    settlement TEXT,
    refund_state TEXT NOT NULL CHECK (refund_state IN ('not_applicable', 'pending', 'paying', 'paid')),
    refund_amount_msats BIGINT NOT NULL CHECK (refund_amount_msats >= 0),
    revision INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until BIGINT,
    attempts INTEGER NOT NULL,
    claims INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- The long texts last, so that what is before them is read without them.
    request TEXT NOT NULL,
    result TEXT,
    -- What the quotes and the settlement say, for who reads the table; the program reads them from where they are.
    work_amount_msats BIGINT GENERATED ALWAYS AS (json_extract(work_terms, '$.amount') * 1000) VIRTUAL,
    estimated_cost_usd_micros BIGINT GENERATED ALWAYS AS (json_extract(work_terms, '$.quote.max.usd')) VIRTUAL,
    margin_pct REAL GENERATED ALWAYS AS (json_extract(work_terms, '$.quote.terms.margin') / 100.0) VIRTUAL,
    btc_price_usd_micros BIGINT GENERATED ALWAYS AS (json_extract(work_terms, '$.quote.terms.btc.price')) VIRTUAL,
    actual_cost_usd_micros BIGINT GENERATED ALWAYS AS (json_extract(settlement, '$.price.usd')) VIRTUAL,
    actual_amount_msats BIGINT GENERATED ALWAYS AS (json_extract(settlement, '$.charged')) VIRTUAL,
    absorbed_msats BIGINT GENERATED ALWAYS AS (json_extract(settlement, '$.absorbed')) VIRTUAL
);

CREATE INDEX jobs_runnable ON jobs (updated_at) WHERE state IN ('evaluating', 'accepted', 'executing');
CREATE INDEX jobs_never_invoiced ON jobs (created_at) WHERE state = 'awaiting_eval_payment' AND eval_invoice IS NULL;

CREATE TABLE invoices (
    payment_hash TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    owner TEXT NOT NULL,
    bolt11 TEXT NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    state TEXT NOT NULL CHECK (state IN ('pending', 'paid', 'expired')),
    received_msats BIGINT CHECK ((received_msats IS NOT NULL) = (state = 'paid')),
    paid_at BIGINT CHECK ((paid_at IS NOT NULL) = (state = 'paid')),
    preimage TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX invoices_pending ON invoices (payment_hash) WHERE state = 'pending';
CREATE INDEX invoices_lapsed ON invoices (payment_hash, expires_at) WHERE state = 'expired';

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    subject TEXT,
    lease_until BIGINT,
    answer_status INTEGER,
    answer_body TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((lease_until IS NULL) = (answer_status IS NOT NULL)),
    CHECK ((answer_status IS NULL) = (answer_body IS NULL))
) WITHOUT ROWID;

CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- What has happened, for who follows it.
CREATE TABLE outbox (
    seq INTEGER NOT NULL PRIMARY KEY,
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (topic, subject, revision)
);
