-- Requests that are done before their payment is taken: the payment for their hold invoice is held meanwhile. One row for a session of one
-- request, beside the session's. `request` is what was sent (JSON; the body in base64), while it can be paid for (`offered`) and while it
-- is done (`held`, until `work_until`); `bytes` is how long that is. `answer` is what it was answered with (JSON), while its payment is
-- taken (`settling`). A row whose state is `ended` holds no text, and is deleted soon.
CREATE TABLE IF NOT EXISTS kept_requests (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL,
    nostr_pubkey TEXT,
    invoice TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('offered', 'held', 'settling', 'cancelling', 'ended')),
    work_until BIGINT CHECK ((work_until IS NOT NULL) = (state = 'held')),
    request TEXT CHECK ((request IS NOT NULL) = (state IN ('offered', 'held'))),
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    answer TEXT CHECK ((answer IS NOT NULL) = (state = 'settling')),
    lease_owner TEXT,
    lease_until BIGINT NOT NULL,
    claims BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- Those that may be paid or are.
CREATE INDEX IF NOT EXISTS kept_requests_open ON kept_requests (updated_at) WHERE state <> 'ended';
