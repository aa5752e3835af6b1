DROP TABLE free_tier_grants;
DROP TABLE free_tier_pool;
DROP TABLE free_tier_reservations;
DROP TABLE auth_challenges;

-- SQLite drops no column that refers to another table: the table is made anew.
DROP INDEX jobs_of_identity;
DROP INDEX jobs_runnable;
DROP INDEX jobs_never_invoiced;
ALTER TABLE jobs RENAME TO jobs_with_identities;

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

INSERT INTO jobs (
    id, model, max_output_tokens, state, eval_quote, eval_amount_msats, eval_invoice, work_terms, work_invoice,
    rejection_reason, error_message, actual_input_tokens, actual_cached_input_tokens, actual_output_tokens, settlement, refund_state, refund_amount_msats, revision,
    lease_owner, lease_until, attempts, claims, created_at, updated_at, request, result
)
SELECT
    id, model, max_output_tokens, state, eval_quote, eval_amount_msats, eval_invoice, work_terms, work_invoice,
    rejection_reason, error_message, actual_input_tokens, actual_cached_input_tokens, actual_output_tokens, settlement, refund_state, refund_amount_msats, revision,
    lease_owner, lease_until, attempts, claims, created_at, updated_at, request, result
FROM jobs_with_identities;

DROP TABLE jobs_with_identities;

CREATE INDEX jobs_runnable ON jobs (updated_at) WHERE state IN ('evaluating', 'accepted', 'executing');
CREATE INDEX jobs_never_invoiced ON jobs (created_at) WHERE state = 'awaiting_eval_payment' AND eval_invoice IS NULL;

DROP TABLE nostr_identities;
