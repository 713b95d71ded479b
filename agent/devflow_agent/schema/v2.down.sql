-- Back to the local-only store. Events keep their ids, so sending them again doubles nothing.
-- There is no archive without sync: what is in it comes back.

INSERT INTO main.events (local_id, id, timestamp, project_id, event_type, event_data, checksum)
    SELECT local_id, id, timestamp, project_id, event_type, event_data, checksum FROM archive.archived_events AS old
    WHERE project_id IN (SELECT id FROM main.projects)
    AND NOT EXISTS (SELECT 1 FROM main.events AS new WHERE new.id = old.id);

DROP TABLE sync_logs;
DROP TABLE downloaded;
DELETE FROM settings WHERE key = 'sync_download_cursor';
DROP VIEW sync_sharing;
DROP TABLE sync_levels;
DROP TABLE sync_projects;
DROP TABLE sync_counts;
DROP INDEX events_refused;
DROP INDEX events_failed;
DROP INDEX events_pending;
ALTER TABLE events DROP COLUMN last_attempt_at;
ALTER TABLE events DROP COLUMN synced_at;
ALTER TABLE events DROP COLUMN last_sync_error;
ALTER TABLE events DROP COLUMN sync_attempts;
ALTER TABLE events DROP COLUMN sync_status;
