-- What the custodian keeps: OPRF budgets, the registry of persons, link tables until their retention ends.

-- Evaluations allowed and made, by party and period; a repeated request is known by its digest and counted once.
CREATE TABLE budgets (
    party       TEXT NOT NULL,
    period      TEXT NOT NULL,
    declared    INTEGER NOT NULL,
    used        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (party, period)
);
CREATE TABLE evaluations (
    party       TEXT NOT NULL,
    period      TEXT NOT NULL,
    digest      BLOB NOT NULL,
    elements    INTEGER NOT NULL,
    PRIMARY KEY (party, period, digest)
);

-- One run, from the first record batch to its link table.
CREATE TABLE runs (
    run_id      TEXT PRIMARY KEY,
    period      TEXT,
    parties     TEXT,                   -- JSON array, from the broker
    state       TEXT NOT NULL,          -- collecting, clustered, ready
    report      BLOB NOT NULL DEFAULT x'',
    position    INTEGER                 -- order in which link tables became ready
);
CREATE TABLE record_uploads (
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    period      TEXT NOT NULL,
    digest      BLOB NOT NULL,
    records     INTEGER NOT NULL,
    sealed_keys TEXT NOT NULL,          -- JSON: analyst -> base64
    PRIMARY KEY (run_id, party)
);
CREATE TABLE record_batches (
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    records     INTEGER NOT NULL,
    PRIMARY KEY (run_id, party, sequence)
);
-- Handles live from the upload until the registry has taken the run in.
CREATE TABLE handles (
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    handle      BLOB NOT NULL,
    ref         BLOB NOT NULL,
    present     INTEGER NOT NULL,
    sealed      BLOB NOT NULL,          -- as received: for every analyst, length and sealed attributes
    PRIMARY KEY (run_id, handle)
);
CREATE UNIQUE INDEX handles_ref ON handles (run_id, party, ref);
CREATE TABLE cluster_batches (
    run_id      TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    clusters    BLOB NOT NULL,
    PRIMARY KEY (run_id, sequence)
);

-- The registry: which record reference belongs to which person. `born` orders persons by age.
CREATE TABLE persons (
    person      BLOB PRIMARY KEY,
    born        INTEGER NOT NULL UNIQUE
);
CREATE TABLE refs (
    party       TEXT NOT NULL,
    ref         BLOB NOT NULL,
    person      BLOB NOT NULL,
    PRIMARY KEY (party, ref)
);
CREATE INDEX refs_person ON refs (person);
CREATE TABLE supersessions (
    run_id      TEXT NOT NULL,
    old_person  BLOB NOT NULL,
    new_person  BLOB NOT NULL,
    kind        INTEGER NOT NULL        -- 1 merge, 2 split
);
CREATE TABLE link_rows (
    run_id      TEXT NOT NULL,
    party       TEXT NOT NULL,
    ref         BLOB NOT NULL,
    person      BLOB NOT NULL,
    match_class INTEGER NOT NULL,
    probability INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (run_id, party, ref)
);
