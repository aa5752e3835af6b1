-- The name of the backend that did the work of a request, where the operator has named several. Null otherwise.
ALTER TABLE session_requests ADD COLUMN IF NOT EXISTS backend TEXT;
