-- Records stay in the order in which they arrive: each batch is written at the end. A party's references are put into a tree in
-- their order, all at once, when its upload is committed.
CREATE TABLE arrived_handles (
    id          INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    handle      BLOB NOT NULL,
    ref         BLOB NOT NULL,
    present     INTEGER NOT NULL,
    sealed      BLOB NOT NULL           -- as received: for every analyst, length and sealed attributes
);
INSERT INTO arrived_handles (run_id, party, handle, ref, present, sealed)
    SELECT run_id, party, handle, ref, present, sealed FROM handles ORDER BY rowid;
DROP TABLE handles;
ALTER TABLE arrived_handles RENAME TO handles;
CREATE INDEX handles_upload ON handles (run_id, party);

CREATE TABLE handle_refs (
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    ref         BLOB NOT NULL,
    record      INTEGER NOT NULL,       -- handles.id
    PRIMARY KEY (run_id, party, ref)
) WITHOUT ROWID;
INSERT INTO handle_refs (run_id, party, ref, record)
    SELECT h.run_id, h.party, h.ref, h.id FROM handles h
    JOIN record_uploads u ON u.run_id = h.run_id AND u.party = h.party ORDER BY h.run_id, h.party, h.ref;
