-- What every question about events reads: the store's and, of those it no longer has, the archive's.
-- A view of the connection, since no view of one file may look into another.

CREATE TEMP VIEW all_events AS
    SELECT local_id, id, timestamp, project_id, event_type, event_data, checksum,
           sync_status, sync_attempts, last_sync_error, synced_at, last_attempt_at
    FROM main.events
    -- True of every row: with it a question about a time finds its rows by the index, which begins with the project.
    WHERE project_id IN (SELECT id FROM main.projects)
    UNION ALL
    SELECT local_id, id, timestamp, project_id, event_type, event_data, checksum,
           sync_status, sync_attempts, last_sync_error, synced_at, last_attempt_at
    FROM archive.archived_events AS old
    -- What another store has left in the archive is of no project here, and nobody's.
    WHERE project_id IN (SELECT id FROM main.projects)
    -- By the row's number, since that is the cheapest look-up there is; the id decides.
    AND NOT EXISTS (SELECT 1 FROM main.events AS new WHERE new.local_id = old.local_id AND new.id = old.id);
