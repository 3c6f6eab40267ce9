-- Records stay in the order in which they arrive: each batch is written at the end. A party's references are put into a tree in
-- their order, all at once, when its upload is committed.
ALTER TABLE handles DROP CONSTRAINT handles_pkey;
DROP INDEX handles_ref;
ALTER TABLE handles RENAME COLUMN rowid TO id;
CREATE INDEX handles_upload ON handles (run_id, party);

CREATE TABLE handle_refs (
    run_id      TEXT COLLATE "C" NOT NULL,
    party       TEXT COLLATE "C" NOT NULL,
    ref         BYTEA NOT NULL,
    record      BIGINT NOT NULL,        -- handles.id
    PRIMARY KEY (run_id, party, ref)
);
INSERT INTO handle_refs (run_id, party, ref, record)
    SELECT h.run_id, h.party, h.ref, h.id FROM handles h
    JOIN record_uploads u ON u.run_id = h.run_id AND u.party = h.party ORDER BY h.run_id, h.party, h.ref;
