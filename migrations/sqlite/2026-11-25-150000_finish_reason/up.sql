-- Why the model's output ended; none in jobs that were completed before this column existed.
ALTER TABLE jobs ADD COLUMN finish_reason TEXT CHECK (finish_reason IN ('stop', 'length', 'content_filter', 'interrupted'));
