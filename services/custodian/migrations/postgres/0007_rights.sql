-- Requests of persons (RGPD, articles 16, 18, 21): what a party asked for, with the custodian's receipt. No identity.
CREATE TABLE withdrawals (
    number      BIGINT PRIMARY KEY,    -- order
    party       TEXT COLLATE "C" NOT NULL,
    request     BYTEA NOT NULL,          -- 16 random bytes
    kind        BIGINT NOT NULL,       -- 1 delete, 2 set aside, 3 restore, 4 void
    runs        TEXT COLLATE "C" NOT NULL,          -- JSON array: of a restored record, the runs whose tables hold it again
    statement   BYTEA NOT NULL,
    signature   BYTEA NOT NULL,
    UNIQUE (party, request)
);
-- The records, until every analyst's receipt is here.
CREATE TABLE withdrawn_refs (
    party       TEXT COLLATE "C" NOT NULL,
    request     BYTEA NOT NULL,
    ref         BYTEA NOT NULL,
    PRIMARY KEY (party, request, ref)
);
CREATE TABLE withdrawal_receipts (
    party       TEXT COLLATE "C" NOT NULL,
    request     BYTEA NOT NULL,
    analyst     TEXT COLLATE "C" NOT NULL,
    statement   BYTEA NOT NULL,
    signature   BYTEA NOT NULL,
    PRIMARY KEY (party, request, analyst)
);
-- Records that may only be kept, apart from registry and link tables.
CREATE TABLE set_aside_refs (
    party       TEXT COLLATE "C" NOT NULL,
    ref         BYTEA NOT NULL,
    person      BIGINT NOT NULL,
    PRIMARY KEY (party, ref)
);
CREATE TABLE set_aside_rows (
    row_id      BIGINT PRIMARY KEY,    -- as in link_rows
    party       TEXT COLLATE "C" NOT NULL,
    ref         BYTEA NOT NULL,
    person      BIGINT NOT NULL,
    match_class BIGINT NOT NULL,
    probability BIGINT NOT NULL,
    sealed      BYTEA NOT NULL
);
CREATE INDEX set_aside_rows_ref ON set_aside_rows (ref, party);
-- How many of a run's ids have no row any more.
ALTER TABLE runs ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0;
