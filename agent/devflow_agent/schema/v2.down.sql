-- Back to the local-only store. Events keep their ids, so sending them again doubles nothing.

DROP TABLE sync_logs;
DROP TABLE downloaded;
DELETE FROM settings WHERE key = 'sync_download_cursor';
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
