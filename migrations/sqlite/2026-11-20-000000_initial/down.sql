DROP TABLE outbox;
DROP TABLE idempotency_keys;
DROP TABLE invoices;
DROP TABLE jobs;
DROP TABLE holds;
DROP TABLE transfers;
DROP TABLE accounts;
