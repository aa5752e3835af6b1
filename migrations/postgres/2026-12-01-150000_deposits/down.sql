-- Fails if there are sessions of the new kinds: no older release knows them.
ALTER TABLE sessions DROP COLUMN topped_up;
ALTER TABLE sessions DROP COLUMN return_invoice;
ALTER TABLE sessions DROP CONSTRAINT sessions_kind_check;
ALTER TABLE sessions ADD CONSTRAINT sessions_kind_check CHECK (kind IN ('prepaid', 'one_request'));
