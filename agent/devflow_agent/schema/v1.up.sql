-- The local-only store: what was observed, where, and how far the collectors have read.

CREATE TABLE projects (
    id          TEXT PRIMARY KEY,           -- UUID v4, known to this PC only
    name        TEXT NOT NULL,
    path        TEXT NOT NULL UNIQUE,       -- the work tree's top folder
    git_dir     TEXT NOT NULL UNIQUE,       -- the common git directory: one for all work trees
    created_at  INTEGER NOT NULL            -- Unix milliseconds UTC, as everywhere
) STRICT;

CREATE TABLE events (
    local_id    INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: the order of recording
    id          TEXT NOT NULL UNIQUE,
    timestamp   INTEGER NOT NULL,
    project_id  TEXT NOT NULL REFERENCES projects (id),
    event_type  TEXT NOT NULL,
    event_data  TEXT NOT NULL,                      -- canonical JSON, fixed when recorded
    checksum    INTEGER NOT NULL                    -- of all before it: a row that a bad disk changed is known
) STRICT;

CREATE INDEX events_by_project_time ON events (project_id, timestamp);

-- Counted in the same transaction as the events, so that no command ever counts rows.
CREATE TABLE event_counts (
    project_id  TEXT NOT NULL REFERENCES projects (id),
    event_type  TEXT NOT NULL,
    count       INTEGER NOT NULL,
    PRIMARY KEY (project_id, event_type)
) STRICT, WITHOUT ROWID;

-- How often something came to the events of an hour (Unix, in UTC) or was deleted from them, in the same
-- transaction: as long as that stays, what was counted of the hour is true. Archiving deletes here, too.
CREATE TABLE recorded_hours (
    hour        INTEGER PRIMARY KEY,
    changes     INTEGER NOT NULL
) STRICT;

CREATE TRIGGER event_deleted AFTER DELETE ON events
BEGIN UPDATE recorded_hours SET changes = changes + 1 WHERE hour = old.timestamp / 3600000; END;

-- What was counted of an hour; each row may be deleted at any time, at the cost of counting again.
CREATE TABLE counted_hours (
    start_ms    INTEGER PRIMARY KEY,
    end_ms      INTEGER NOT NULL,           -- not always an hour later, see windows.py
    rules       BLOB NOT NULL,              -- a hash of what else it depends on
    changes     INTEGER NOT NULL,           -- of all hours whose events it depends on
    numbers     BLOB NOT NULL,
    checksum    INTEGER NOT NULL            -- of all before it
) STRICT;

-- The tips the git collector last saw: what is new is what they do not reach.
CREATE TABLE git_refs (
    project_id  TEXT NOT NULL REFERENCES projects (id),
    ref         TEXT NOT NULL,
    sha         TEXT NOT NULL,
    PRIMARY KEY (project_id, ref)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    key         TEXT PRIMARY KEY,
    value       TEXT NOT NULL               -- JSON
) STRICT, WITHOUT ROWID;
