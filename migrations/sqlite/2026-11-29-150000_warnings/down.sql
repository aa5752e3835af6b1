DROP INDEX session_keys_to_warn;
DROP INDEX sessions_to_warn;
ALTER TABLE session_keys DROP COLUMN notified_percent;
ALTER TABLE session_keys DROP COLUMN warned_percent;
ALTER TABLE sessions DROP COLUMN notified_percent;
ALTER TABLE sessions DROP COLUMN warned_percent;
ALTER TABLE sessions DROP COLUMN webhook_url;
ALTER TABLE sessions DROP COLUMN topped_up_to_msats;
