ALTER TABLE sessions DROP COLUMN return_to;
DROP INDEX transfers_of_wallet;
DROP TABLE payouts;
DROP TABLE obligations;
