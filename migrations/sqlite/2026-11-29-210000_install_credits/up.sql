-- Installs of apps, with what they have used of their plans. What a request may use follows from the plan that it proves.
CREATE TABLE install_credits (
    install_id TEXT NOT NULL PRIMARY KEY,
    -- The last paid plan that was proven, or core.
    plan TEXT NOT NULL CHECK (plan IN ('core', 'pro', 'max')),
    -- The day of the month on which periods begin, and when the current one began.
    anchor_day BIGINT NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
    period_start BIGINT NOT NULL,
    -- What was used of quotas that are never renewed. What was consumed may have been imported.
    lifetime_consumed BIGINT NOT NULL CHECK (lifetime_consumed >= 0),
    lifetime_cloud_consumed BIGINT NOT NULL CHECK (lifetime_cloud_consumed >= 0),
    lifetime_reserved BIGINT NOT NULL CHECK (lifetime_reserved >= 0),
    lifetime_cloud_reserved BIGINT NOT NULL CHECK (lifetime_cloud_reserved BETWEEN 0 AND lifetime_reserved),
    -- What was used of monthly quotas since period_start.
    monthly_consumed BIGINT NOT NULL CHECK (monthly_consumed >= 0),
    monthly_cloud_consumed BIGINT NOT NULL CHECK (monthly_cloud_consumed >= 0),
    monthly_reserved BIGINT NOT NULL CHECK (monthly_reserved >= 0),
    monthly_cloud_reserved BIGINT NOT NULL CHECK (monthly_cloud_reserved BETWEEN 0 AND monthly_reserved),
    last_active_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

-- Requests of installs' quotas: each is reserved before its work begins, and ends once.
CREATE TABLE credits (
    id TEXT NOT NULL PRIMARY KEY,
    install_id TEXT NOT NULL REFERENCES install_credits (install_id),
    -- The plan that the request proved, and what the plan included then; no number means any number.
    plan TEXT NOT NULL CHECK (plan IN ('core', 'pro', 'max')),
    backend TEXT NOT NULL CHECK (backend IN ('cloud', 'hardware')),
    counted TEXT NOT NULL CHECK (counted IN ('lifetime', 'monthly')),
    quota_requests BIGINT CHECK (quota_requests >= 0),
    quota_cloud BIGINT CHECK (quota_cloud >= 0),
    period_start BIGINT NOT NULL,
    -- What was used of the quota with this request: never more.
    used_after BIGINT NOT NULL CHECK (used_after > 0 AND used_after <= quota_requests),
    cloud_used_after BIGINT NOT NULL CHECK (cloud_used_after >= 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    lease_until BIGINT CHECK ((lease_until IS NOT NULL) = (state = 'held')),
    -- Whether the work was done after all once the credit had expired.
    late BOOLEAN NOT NULL CHECK (NOT late OR state = 'expired'),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CHECK (backend <> 'cloud' OR (cloud_used_after > 0 AND cloud_used_after <= quota_cloud))
) WITHOUT ROWID;

CREATE INDEX credits_held ON credits (lease_until) WHERE state = 'held';
-- Those that took nothing are deleted after a day.
CREATE INDEX credits_given_back ON credits (updated_at) WHERE state = 'released' OR (state = 'expired' AND NOT late);

-- Where new installs came from, and how many in the 24 hours that begin with the first. A row whose time is over is deleted.
CREATE TABLE install_origins (
    name TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    installs BIGINT NOT NULL CHECK (installs >= 0)
) WITHOUT ROWID;

CREATE INDEX install_origins_since ON install_origins (since);

-- Licences that are no longer valid although they have not expired.
CREATE TABLE revoked_licences (
    licence_id TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    revoked_at BIGINT NOT NULL
) WITHOUT ROWID;
