-- What a session pays for: requests of its owner's choice (prepaid), or one request. Of that one: the digest of what was asked for (64
-- hexadecimal digits; the payment buys nothing else), and what its price was computed from, as JSON. Every session from before is prepaid.
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS kind TEXT COLLATE "C" NOT NULL DEFAULT 'prepaid' CHECK (kind IN ('prepaid', 'one_request'));
-- One request has no top-ups and warns nobody.
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS request_digest TEXT COLLATE "C" CHECK (
    (request_digest IS NOT NULL) = (kind = 'one_request')
    AND (request_digest IS NULL
        OR (length(request_digest) = 64 AND top_ups = 0 AND top_up_invoice IS NULL AND webhook_url IS NULL))
);
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS request_terms TEXT CHECK ((request_terms IS NOT NULL) = (kind = 'one_request'));

-- The kinds expire after different times.
DROP INDEX IF EXISTS sessions_idle;
CREATE INDEX IF NOT EXISTS sessions_idle ON sessions (kind, last_used_at) WHERE state = 'active';
