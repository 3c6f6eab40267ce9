-- Requests of persons (RGPD, articles 16, 18, 21): what a party asked for, with the custodian's receipt. No identity.
CREATE TABLE withdrawals (
    number      INTEGER PRIMARY KEY,    -- order
    party       TEXT NOT NULL,
    request     BLOB NOT NULL,          -- 16 random bytes
    kind        INTEGER NOT NULL,       -- 1 delete, 2 set aside, 3 restore, 4 void
    runs        TEXT NOT NULL,          -- JSON array: of a restored record, the runs whose tables hold it again
    statement   BLOB NOT NULL,
    signature   BLOB NOT NULL,
    UNIQUE (party, request)
);
-- The records, until every analyst's receipt is here.
CREATE TABLE withdrawn_refs (
    party       TEXT NOT NULL,
    request     BLOB NOT NULL,
    ref         BLOB NOT NULL,
    PRIMARY KEY (party, request, ref)
);
CREATE TABLE withdrawal_receipts (
    party       TEXT NOT NULL,
    request     BLOB NOT NULL,
    analyst     TEXT NOT NULL,
    statement   BLOB NOT NULL,
    signature   BLOB NOT NULL,
    PRIMARY KEY (party, request, analyst)
);
-- Records that may only be kept, apart from registry and link tables.
CREATE TABLE set_aside_refs (
    party       TEXT NOT NULL,
    ref         BLOB NOT NULL,
    person      INTEGER NOT NULL,
    PRIMARY KEY (party, ref)
);
CREATE TABLE set_aside_rows (
    row_id      INTEGER PRIMARY KEY,    -- as in link_rows
    party       TEXT NOT NULL,
    ref         BLOB NOT NULL,
    person      INTEGER NOT NULL,
    match_class INTEGER NOT NULL,
    probability INTEGER NOT NULL,
    sealed      BLOB NOT NULL
);
CREATE INDEX set_aside_rows_ref ON set_aside_rows (ref, party);
-- How many of a run's ids have no row any more.
ALTER TABLE runs ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0;
