-- How often a job was leased since something came of it: a worker that is killed says nothing.
ALTER TABLE jobs ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
