-- Amounts are whole millisats (_msats) or micro-dollars (_usd_micros). Times are microseconds since 1970, UTC
-- (to_timestamp(created_at / 1e6) shows them). Ids are UUIDs, payment hashes and preimages 64 hex digits, in lower case.
-- Keys are compared by their bytes (COLLATE "C"): quicker, and the same in every locale.
-- Rows that change in place leave room on their page, so that a change touches no index.

CREATE TABLE accounts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    balance_msats BIGINT NOT NULL CHECK (balance_msats >= 0),
    held_msats BIGINT NOT NULL CHECK (held_msats >= 0 AND held_msats <= balance_msats)
) WITH (fillfactor = 50);

CREATE TABLE transfers (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key TEXT COLLATE "C" NOT NULL UNIQUE,
    debit TEXT COLLATE "C" NOT NULL,
    credit TEXT COLLATE "C" NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    kind TEXT COLLATE "C" NOT NULL,
    reference TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    CHECK (debit <> credit)
);

CREATE FUNCTION history_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are never changed or deleted', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER transfers_are_never_changed BEFORE UPDATE OR DELETE ON transfers
FOR EACH ROW EXECUTE FUNCTION history_is_never_changed();

CREATE TRIGGER transfers_are_never_emptied BEFORE TRUNCATE ON transfers
FOR EACH STATEMENT EXECUTE FUNCTION history_is_never_changed();

CREATE TABLE holds (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    lease_until BIGINT CHECK ((lease_until IS NOT NULL) = (state = 'held')),
    charged_msats BIGINT CHECK (charged_msats >= 0),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX holds_live ON holds (lease_until) WHERE state = 'held';

CREATE TABLE jobs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    max_output_tokens BIGINT,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN (
        'awaiting_eval_payment', 'evaluating', 'accepted', 'awaiting_work_payment', 'executing',
        'rejected', 'complete', 'failed', 'expired')),
    eval_quote TEXT NOT NULL,
    eval_amount_msats BIGINT NOT NULL CHECK (eval_amount_msats >= 0),
    eval_invoice TEXT COLLATE "C",
    work_terms TEXT,
    work_invoice TEXT COLLATE "C",
    rejection_reason TEXT,
    error_message TEXT,
    actual_input_tokens BIGINT,
    actual_cached_input_tokens BIGINT,
    actual_output_tokens BIGINT,
    settlement TEXT,
    refund_state TEXT COLLATE "C" NOT NULL CHECK (refund_state IN ('not_applicable', 'pending', 'paying', 'paid')),
    refund_amount_msats BIGINT NOT NULL CHECK (refund_amount_msats >= 0),
    revision BIGINT NOT NULL,
    lease_owner TEXT COLLATE "C",
    lease_until BIGINT,
    attempts BIGINT NOT NULL,
    claims BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    request TEXT NOT NULL,
    result TEXT,
    -- What the quotes and the settlement say, for who reads the table; the program reads them from where they are.
    work_amount_msats BIGINT GENERATED ALWAYS AS ((work_terms::json ->> 'amount')::bigint * 1000) STORED,
    estimated_cost_usd_micros BIGINT GENERATED ALWAYS AS ((work_terms::json #>> '{quote,max,usd}')::bigint) STORED,
    margin_pct DOUBLE PRECISION
        GENERATED ALWAYS AS ((work_terms::json #>> '{quote,terms,margin}')::double precision / 100) STORED,
    btc_price_usd_micros BIGINT GENERATED ALWAYS AS ((work_terms::json #>> '{quote,terms,btc,price}')::bigint) STORED,
    actual_cost_usd_micros BIGINT GENERATED ALWAYS AS ((settlement::json #>> '{price,usd}')::bigint) STORED,
    actual_amount_msats BIGINT GENERATED ALWAYS AS ((settlement::json ->> 'charged')::bigint) STORED,
    absorbed_msats BIGINT GENERATED ALWAYS AS ((settlement::json ->> 'absorbed')::bigint) STORED
) WITH (fillfactor = 70);

CREATE INDEX jobs_runnable ON jobs (updated_at) WHERE state IN ('evaluating', 'accepted', 'executing');
CREATE INDEX jobs_never_invoiced ON jobs (created_at) WHERE state = 'awaiting_eval_payment' AND eval_invoice IS NULL;

CREATE TABLE invoices (
    payment_hash TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    purpose TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    bolt11 TEXT NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'paid', 'expired')),
    received_msats BIGINT CHECK ((received_msats IS NOT NULL) = (state = 'paid')),
    paid_at BIGINT CHECK ((paid_at IS NOT NULL) = (state = 'paid')),
    preimage TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX invoices_pending ON invoices (payment_hash) WHERE state = 'pending';
CREATE INDEX invoices_lapsed ON invoices (payment_hash, expires_at) WHERE state = 'expired';

CREATE TABLE idempotency_keys (
    scope TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C",
    lease_until BIGINT,
    answer_status INTEGER,
    answer_body TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((lease_until IS NULL) = (answer_status IS NOT NULL)),
    CHECK ((answer_status IS NULL) = (answer_body IS NULL))
) WITH (fillfactor = 70);

CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- What has happened, for who follows it.
CREATE TABLE outbox (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (topic, subject, revision)
);

-- One row for each server that writes: the number of its last batch. A batch writes its number in its own transaction, so
-- that a server whose connection was lost while it committed can see whether it has. The number only grows: a server that
-- has gone on puts it beyond the lost batch, which then cannot be committed any more, however late it arrives.
CREATE TABLE committers (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    batch BIGINT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

CREATE FUNCTION batches_are_numbered_upwards() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.batch <= OLD.batch THEN
        RAISE EXCEPTION 'batch % of this server comes after its batch %', NEW.batch, OLD.batch;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER batches_are_numbered_upwards BEFORE UPDATE OF batch ON committers
FOR EACH ROW EXECUTE FUNCTION batches_are_numbered_upwards();
