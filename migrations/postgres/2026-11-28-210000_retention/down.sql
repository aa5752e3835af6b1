ALTER TABLE jobs DROP COLUMN usage_estimated;
DROP INDEX jobs_by_identity;
CREATE INDEX jobs_of_identity ON jobs (nostr_pubkey) WHERE nostr_pubkey IS NOT NULL;
DROP INDEX jobs_unpaid;
DROP INDEX jobs_expired_texts;
DROP INDEX invoices_open;
DROP INDEX invoices_expired;
CREATE INDEX invoices_lapsed ON invoices (payment_hash, expires_at) WHERE state = 'expired';
