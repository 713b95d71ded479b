-- Old events that the server has, in a file of their own: archive.db beside the store.
-- The columns are those of the events in the store. Not the name: where SQLite has not read yet that the store
-- has a table of events, the same name would mean this one.

CREATE TABLE IF NOT EXISTS archive.archived_events (
    id              TEXT NOT NULL,
    local_id        INTEGER NOT NULL,
    timestamp       INTEGER NOT NULL,
    project_id      TEXT NOT NULL,          -- of the store's projects, which another file cannot check
    event_type      TEXT NOT NULL,
    event_data      TEXT NOT NULL,
    checksum        INTEGER NOT NULL,
    sync_status     TEXT NOT NULL CHECK (sync_status = 'synced'),
    sync_attempts   INTEGER NOT NULL,
    last_sync_error TEXT,
    synced_at       INTEGER,
    last_attempt_at INTEGER,
    -- Not the id alone: if the store was made anew beside it, an old row and a new one are of one commit.
    PRIMARY KEY (id, project_id)
) STRICT;

CREATE INDEX IF NOT EXISTS archive.archived_by_project_time ON archived_events (project_id, timestamp, local_id);
