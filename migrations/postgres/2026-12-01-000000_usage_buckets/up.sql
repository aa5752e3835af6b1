-- What the columns of tokens leave out of the usage that the backend reported: the tokens that it wrote to its cache, and those that it reasoned
-- with, as JSON. Null if there are none, as for most work. One column, because all of them are read and written together and nothing selects
-- by them.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS actual_buckets TEXT;
ALTER TABLE session_requests ADD COLUMN IF NOT EXISTS actual_buckets TEXT;
