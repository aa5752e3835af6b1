-- Nodes that are bought. What is paid for one is in the account bootstrap:<id> until the node is ready.
CREATE TABLE bootstrap_jobs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    nostr_pubkey TEXT COLLATE "C" REFERENCES nostr_identities (pubkey),
    plan TEXT NOT NULL,
    amount_msats BIGINT NOT NULL CHECK (amount_msats > 0),
    ssh_public_key TEXT,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('awaiting_payment', 'provisioning', 'ready', 'failed', 'expired')),
    invoice TEXT COLLATE "C",
    paid_at BIGINT CHECK ((paid_at IS NOT NULL) = (state = 'provisioning')),
    -- Since when the provisioner may be making the node, or may have made one that is to be destroyed.
    begun_at BIGINT CHECK (begun_at IS NULL OR state IN ('provisioning', 'failed')),
    host TEXT CHECK ((host IS NOT NULL) = (state = 'ready')),
    -- Encrypted: the password that the node is to have, and then its credentials, until they have been shown.
    sealed TEXT,
    delivered_at BIGINT CHECK (delivered_at IS NULL OR (state = 'ready' AND sealed IS NULL)),
    error_message TEXT CHECK ((error_message IS NOT NULL) = (state = 'failed')),
    refund_amount_msats BIGINT NOT NULL CHECK (refund_amount_msats >= 0),
    rounding_msats BIGINT NOT NULL CHECK (rounding_msats >= 0),
    -- The run of the server that works on it, how often it was claimed, and when it may be claimed again.
    claim_owner TEXT COLLATE "C",
    claims BIGINT NOT NULL CHECK (claims >= 0),
    claimable_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX bootstrap_jobs_open ON bootstrap_jobs (claimable_at)
    WHERE state = 'provisioning' OR (state = 'failed' AND begun_at IS NOT NULL);
CREATE INDEX bootstrap_jobs_never_invoiced ON bootstrap_jobs (created_at)
    WHERE state = 'awaiting_payment' AND invoice IS NULL;
CREATE INDEX bootstrap_jobs_unpaid ON bootstrap_jobs (updated_at) WHERE state = 'expired' AND refund_amount_msats = 0;
CREATE INDEX bootstrap_jobs_by_identity ON bootstrap_jobs (nostr_pubkey) WHERE nostr_pubkey IS NOT NULL;
