-- Made for millions of records: persons by number (smaller is older), references in one tree, link rows by position.
CREATE TABLE numbered_persons (
    number      INTEGER PRIMARY KEY,
    person      BLOB NOT NULL
);
INSERT INTO numbered_persons (number, person) SELECT born, person FROM persons;

CREATE TABLE numbered_refs (
    ref         BLOB NOT NULL,
    party       TEXT NOT NULL,
    person      INTEGER NOT NULL,
    PRIMARY KEY (ref, party)
) WITHOUT ROWID;
INSERT INTO numbered_refs (ref, party, person)
    SELECT r.ref, r.party, p.born FROM refs r JOIN persons p USING (person) ORDER BY r.ref, r.party;

-- One row for each person merged (without reference), one for each reference that a split moved. Splits of runs before
-- this table have no references: which records they moved was not kept.
CREATE TABLE numbered_supersessions (
    id          INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL,
    old_person  INTEGER NOT NULL,
    new_person  INTEGER NOT NULL,
    ref         BLOB
);
INSERT INTO numbered_supersessions (run_id, old_person, new_person)
    SELECT s.run_id, o.born, n.born FROM supersessions s
    JOIN persons o ON o.person = s.old_person JOIN persons n ON n.person = s.new_person
    WHERE s.kind = 1 ORDER BY s.rowid;

-- A run's rows have ids in a row, in the order of their references: runs.first_row and runs.row_count say which.
CREATE TABLE numbered_link_rows (
    id          INTEGER PRIMARY KEY,
    party       TEXT NOT NULL,
    ref         BLOB NOT NULL,
    person      INTEGER NOT NULL,
    match_class INTEGER NOT NULL,
    probability INTEGER NOT NULL,
    sealed      BLOB NOT NULL
);
INSERT INTO numbered_link_rows (party, ref, person, match_class, probability, sealed)
    SELECT l.party, l.ref, p.born, l.match_class, l.probability, l.sealed
    FROM link_rows l JOIN runs USING (run_id) JOIN persons p USING (person) ORDER BY runs.position, l.ref, l.party;
ALTER TABLE runs ADD COLUMN first_row INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN row_count INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET row_count = (SELECT count(*) FROM link_rows l WHERE l.run_id = runs.run_id) WHERE state = 'ready';
UPDATE runs SET first_row = 1 + (SELECT coalesce(sum(e.row_count), 0) FROM runs e WHERE e.position < runs.position)
    WHERE state = 'ready';

DROP TABLE persons;
DROP TABLE refs;
DROP TABLE supersessions;
DROP TABLE link_rows;
ALTER TABLE numbered_persons RENAME TO persons;
ALTER TABLE numbered_refs RENAME TO refs;
ALTER TABLE numbered_supersessions RENAME TO supersessions;
ALTER TABLE numbered_link_rows RENAME TO link_rows;
CREATE INDEX refs_person ON refs (person);
CREATE INDEX supersessions_run ON supersessions (run_id);

-- Half-made pseudonyms, computed once for each analyst's purpose. A domain is known by the point of a fixed id, which
-- changes with the custodian's scalar, the agreement and the purpose.
CREATE TABLE point_domains (
    number      INTEGER PRIMARY KEY,
    probe       BLOB NOT NULL UNIQUE
);
CREATE TABLE person_points (
    domain      INTEGER NOT NULL,
    person      INTEGER NOT NULL,
    point       BLOB NOT NULL,
    PRIMARY KEY (domain, person)
) WITHOUT ROWID;
CREATE TABLE ref_points (
    domain      INTEGER NOT NULL,
    ref         BLOB NOT NULL,
    point       BLOB NOT NULL,
    PRIMARY KEY (domain, ref)
) WITHOUT ROWID;
