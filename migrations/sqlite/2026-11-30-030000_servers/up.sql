-- The servers that run on this database, with what all of them must share. A server writes its row again every few seconds, and deletes it
-- when it stops. The row of one that has died is deleted after a day.
CREATE TABLE servers (
    id TEXT NOT NULL PRIMARY KEY,
    -- The machine, and the address that it listens on.
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    -- What all servers must share, as JSON. Of secrets only fingerprints.
    settings TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
) WITHOUT ROWID;
