-- The balance after the last payment; where the owner of a session wants warnings; how much of that balance (or of a key's limit) is
-- used, in per cent, as far as warnings distinguish it; and how much of that the owner was told.
ALTER TABLE sessions ADD COLUMN topped_up_to_msats BIGINT NOT NULL DEFAULT 0 CHECK (topped_up_to_msats >= 0);
ALTER TABLE sessions ADD COLUMN webhook_url TEXT;
ALTER TABLE sessions ADD COLUMN warned_percent BIGINT NOT NULL DEFAULT 0 CHECK (warned_percent IN (0, 50, 80, 100));
ALTER TABLE sessions ADD COLUMN notified_percent BIGINT NOT NULL DEFAULT 0 CHECK (notified_percent IN (0, 50, 80, 100));
ALTER TABLE session_keys ADD COLUMN warned_percent BIGINT NOT NULL DEFAULT 0 CHECK (warned_percent IN (0, 50, 80, 100));
ALTER TABLE session_keys ADD COLUMN notified_percent BIGINT NOT NULL DEFAULT 0 CHECK (notified_percent IN (0, 50, 80, 100));

CREATE INDEX sessions_to_warn ON sessions (id) WHERE warned_percent > notified_percent;
CREATE INDEX session_keys_to_warn ON session_keys (session_id, key_id) WHERE warned_percent > notified_percent;
