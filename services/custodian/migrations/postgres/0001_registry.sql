-- What the custodian keeps: OPRF budgets, handles and clusters of runs under way. Persons and link tables: 0004.
-- Texts are compared byte by byte, as SQLite does. `rowid` is the order of insertion, which SQLite keeps by itself.

-- Evaluations allowed and made, by party and period; a repeated request is known by its digest and counted once.
CREATE TABLE budgets (
    party       TEXT COLLATE "C" NOT NULL,
    period      TEXT COLLATE "C" NOT NULL,
    declared    BIGINT NOT NULL,
    used        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (party, period)
);
CREATE TABLE evaluations (
    party       TEXT COLLATE "C" NOT NULL,
    period      TEXT COLLATE "C" NOT NULL,
    digest      BYTEA NOT NULL,
    elements    BIGINT NOT NULL,
    PRIMARY KEY (party, period, digest)
);

-- One run, from the first record batch to its link table.
CREATE TABLE runs (
    run_id      TEXT COLLATE "C" PRIMARY KEY,
    period      TEXT COLLATE "C",
    parties     TEXT COLLATE "C",       -- JSON array, from the broker
    state       TEXT COLLATE "C" NOT NULL,          -- collecting, clustered, ready
    report      BYTEA NOT NULL DEFAULT '',
    position    BIGINT,                 -- order in which link tables became ready
    rowid       BIGINT GENERATED ALWAYS AS IDENTITY
);
CREATE TABLE record_uploads (
    run_id      TEXT COLLATE "C" NOT NULL,
    party       TEXT COLLATE "C" NOT NULL,
    period      TEXT COLLATE "C" NOT NULL,
    digest      BYTEA NOT NULL,
    records     BIGINT NOT NULL,
    sealed_keys TEXT COLLATE "C" NOT NULL,          -- JSON: analyst -> base64
    PRIMARY KEY (run_id, party)
);
CREATE TABLE record_batches (
    run_id      TEXT COLLATE "C" NOT NULL,
    party       TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    digest      BYTEA NOT NULL,
    records     BIGINT NOT NULL,
    PRIMARY KEY (run_id, party, sequence)
);
-- Handles live from the upload until the registry has taken the run in.
CREATE TABLE handles (
    run_id      TEXT COLLATE "C" NOT NULL,
    party       TEXT COLLATE "C" NOT NULL,
    handle      BYTEA NOT NULL,
    ref         BYTEA NOT NULL,
    present     BIGINT NOT NULL,
    sealed      BYTEA NOT NULL,         -- as received: for every analyst, length and sealed attributes
    rowid       BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    PRIMARY KEY (run_id, handle)
);
CREATE UNIQUE INDEX handles_ref ON handles (run_id, party, ref);
CREATE TABLE cluster_batches (
    run_id      TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    last        BIGINT NOT NULL,
    digest      BYTEA NOT NULL,
    clusters    BYTEA NOT NULL,
    PRIMARY KEY (run_id, sequence)
);
