DROP TABLE handle_refs;
DROP INDEX handles_upload;
ALTER TABLE handles RENAME COLUMN id TO rowid;
CREATE UNIQUE INDEX handles_ref ON handles (run_id, party, ref);
ALTER TABLE handles ADD PRIMARY KEY (run_id, handle);
