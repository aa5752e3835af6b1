-- Identities with the trust that they have earned and what they have taken from the pool today. The tier is not kept: it
-- follows from the score, the rules in force and the time. Who has asked for nothing has no row.
CREATE TABLE nostr_identities (
    pubkey TEXT NOT NULL PRIMARY KEY,
    -- Thousandths of a point, as of updated_at: an absence since then is worked out when it is read.
    trust_score_millis BIGINT NOT NULL CHECK (trust_score_millis >= 0),
    -- What the day until gains_reset_at has added.
    gained_today_millis BIGINT NOT NULL CHECK (gained_today_millis >= 0),
    gains_reset_at BIGINT,
    away_since BIGINT NOT NULL,
    interaction_count BIGINT NOT NULL CHECK (interaction_count >= 0),
    -- What the day until absorbed_reset_at was granted.
    absorbed_today_msats BIGINT NOT NULL CHECK (absorbed_today_msats >= 0),
    absorbed_reset_at BIGINT,
    reserved_msats BIGINT NOT NULL CHECK (reserved_msats >= 0),
    -- The reservation whose other part this identity is to pay.
    open_offer TEXT,
    last_seen BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN nostr_pubkey TEXT REFERENCES nostr_identities (pubkey);

CREATE INDEX jobs_of_identity ON jobs (nostr_pubkey) WHERE nostr_pubkey IS NOT NULL;

-- Proofs of identity that were used: nonces of challenges, ids of signed requests. Asking for a challenge writes nothing.
CREATE TABLE auth_challenges (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('login', 'http_auth')),
    pubkey TEXT NOT NULL,
    used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX auth_challenges_expiry ON auth_challenges (expires_at);

-- What is set aside of the pool and of an identity's day, for one piece of work. Each ends once.
CREATE TABLE free_tier_reservations (
    id TEXT NOT NULL PRIMARY KEY,
    pubkey TEXT NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    -- The day's budget when it was made, and what counted against it with this: never more.
    budget_msats BIGINT NOT NULL,
    used_after_msats BIGINT NOT NULL CHECK (used_after_msats BETWEEN amount_msats AND budget_msats),
    state TEXT NOT NULL CHECK (state IN ('offered', 'held', 'settled', 'released', 'lapsed')),
    lease_until BIGINT CHECK (lease_until IS NULL OR state = 'held'),
    absorbed_msats BIGINT CHECK (absorbed_msats BETWEEN 0 AND amount_msats),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX free_tier_reservations_leased ON free_tier_reservations (lease_until) WHERE lease_until IS NOT NULL;

-- What the pool's limits count, and what it has granted today, which limits nothing: one row. The pool's money is in `accounts`.
CREATE TABLE free_tier_pool (
    id TEXT NOT NULL PRIMARY KEY CHECK (id = 'pool'),
    -- What offers hold together that nobody has paid their part of.
    offered_msats BIGINT NOT NULL CHECK (offered_msats >= 0),
    -- Days since 1970, UTC, and what was granted on that one.
    day BIGINT NOT NULL,
    granted_msats BIGINT NOT NULL CHECK (granted_msats >= 0)
) WITHOUT ROWID;

-- The audit log: what the pool has paid, for ever.
CREATE TABLE free_tier_grants (
    id TEXT NOT NULL PRIMARY KEY,
    pubkey TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    absorbed_msats BIGINT NOT NULL CHECK (absorbed_msats > 0),
    pool_balance_after_msats BIGINT NOT NULL CHECK (pool_balance_after_msats >= 0),
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER free_tier_grants_are_never_changed BEFORE UPDATE ON free_tier_grants
BEGIN SELECT RAISE(ABORT, 'grants are never changed'); END;

CREATE TRIGGER free_tier_grants_are_never_deleted BEFORE DELETE ON free_tier_grants
BEGIN SELECT RAISE(ABORT, 'grants are never deleted'); END;
