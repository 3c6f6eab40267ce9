DROP TABLE handle_refs;
CREATE TABLE keyed_handles (
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    handle      BLOB NOT NULL,
    ref         BLOB NOT NULL,
    present     INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (run_id, handle)
);
INSERT INTO keyed_handles (run_id, party, handle, ref, present, sealed)
    SELECT run_id, party, handle, ref, present, sealed FROM handles ORDER BY id;
DROP TABLE handles;
ALTER TABLE keyed_handles RENAME TO handles;
CREATE UNIQUE INDEX handles_ref ON handles (run_id, party, ref);
