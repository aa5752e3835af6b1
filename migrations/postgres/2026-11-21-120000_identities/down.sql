DROP TABLE free_tier_grants;
DROP TABLE free_tier_pool;
DROP TABLE free_tier_reservations;
DROP TABLE auth_challenges;
DROP INDEX jobs_of_identity;
ALTER TABLE jobs DROP COLUMN nostr_pubkey;
DROP TABLE nostr_identities;
