-- What sync needs beside each event. Old rows become pending: they were never sent.

ALTER TABLE events ADD COLUMN sync_status TEXT NOT NULL DEFAULT 'pending'
    CHECK (sync_status IN ('pending', 'synced', 'failed'));
ALTER TABLE events ADD COLUMN sync_attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN last_sync_error TEXT;
ALTER TABLE events ADD COLUMN synced_at INTEGER;
-- When the server last said something of it.
ALTER TABLE events ADD COLUMN last_attempt_at INTEGER;

-- Small however long the history is: only what still waits stands in it.
CREATE INDEX events_pending ON events (project_id, local_id) WHERE sync_status = 'pending';
CREATE INDEX events_failed ON events (local_id) WHERE sync_status = 'failed';
CREATE INDEX events_refused ON events (last_attempt_at)
    WHERE last_sync_error IS NOT NULL AND sync_status <> 'synced';

CREATE TABLE sync_counts (
    project_id  TEXT NOT NULL REFERENCES projects (id),
    sync_status TEXT NOT NULL,
    count       INTEGER NOT NULL,
    PRIMARY KEY (project_id, sync_status)
) STRICT, WITHOUT ROWID;

INSERT INTO sync_counts (project_id, sync_status, count)
    SELECT project_id, 'pending', sum(count) FROM event_counts GROUP BY project_id;

-- The server's project that this one reports to; no row, nothing is sent.
CREATE TABLE sync_projects (
    project_id  TEXT PRIMARY KEY REFERENCES projects (id),
    remote_id   TEXT NOT NULL,
    remote_name TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What a project shares, where somebody has chosen it; no row, all that its events hold. The key of its
-- pseudonyms is kept once it was found, so that a file keeps its own.
CREATE TABLE sync_levels (
    project_id     TEXT PRIMARY KEY REFERENCES projects (id),
    level          TEXT NOT NULL CHECK (level IN ('off', 'metrics', 'metadata')),
    pseudonym_key  TEXT,                    -- 64 hex digits
    is_key_common  INTEGER,                 -- 1: every clone has the same; 0: drawn for this PC alone
    CHECK (level <> 'metrics' OR pseudonym_key IS NOT NULL),
    CHECK ((pseudonym_key IS NULL) = (is_key_common IS NULL))
) STRICT, WITHOUT ROWID;

-- The only one that whatever sends may ask: linked projects that share anything.
CREATE VIEW sync_sharing AS
    SELECT project_id, remote_id, coalesce(level, 'metadata') AS level, pseudonym_key
    FROM sync_projects LEFT JOIN sync_levels USING (project_id)
    WHERE coalesce(level, 'metadata') <> 'off';

-- What the developer's other PCs sent, for who wants it here; never sent from here.
CREATE TABLE downloaded (
    id          TEXT PRIMARY KEY,
    timestamp   INTEGER NOT NULL,
    device_id   TEXT NOT NULL,
    remote_id   TEXT NOT NULL,              -- the server's project
    event_type  TEXT NOT NULL,
    event_data  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX downloaded_by_time ON downloaded (timestamp);

-- One row an attempt to send, newest last.
CREATE TABLE sync_logs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp   INTEGER NOT NULL,
    sent        INTEGER NOT NULL,
    synced      INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,           -- as sent: compressed over http
    latency_ms  INTEGER,                    -- null where no answer came
    outcome     TEXT NOT NULL,              -- ok | partial | offline | unauthorized | refused | too_large
    detail      TEXT NOT NULL,
    via         TEXT NOT NULL CHECK (via IN ('http', 'live')),
    first_local_id  INTEGER,                -- the batch held what waited between these two
    last_local_id   INTEGER
) STRICT;
