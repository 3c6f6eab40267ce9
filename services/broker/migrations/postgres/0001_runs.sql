-- What the broker keeps between requests. Encodings themselves are in the blob store; here is who sent what.
-- Texts are compared byte by byte, as SQLite does. `rowid` is the order of insertion, which SQLite keeps by itself.
CREATE TABLE runs (
    run_id      TEXT COLLATE "C" PRIMARY KEY,
    agreement   BYTEA NOT NULL,
    period      TEXT COLLATE "C" NOT NULL,
    parties     TEXT COLLATE "C" NOT NULL,          -- JSON array
    order_signature BYTEA NOT NULL,                 -- the coordinator's
    state       TEXT COLLATE "C" NOT NULL,          -- collecting, linking, delivering, closed, cancelled, failed
    step        TEXT COLLATE "C" NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL DEFAULT '',
    opened_at   BIGINT NOT NULL,                    -- seconds since 1970
    rowid       BIGINT GENERATED ALWAYS AS IDENTITY
);
CREATE TABLE uploads (
    run_id      TEXT COLLATE "C" NOT NULL REFERENCES runs(run_id),
    party       TEXT COLLATE "C" NOT NULL,
    batches     BIGINT NOT NULL,
    records     BIGINT NOT NULL,
    digest      BYTEA NOT NULL,
    level_frequencies BYTEA NOT NULL,
    PRIMARY KEY (run_id, party)
);
CREATE TABLE batches (
    run_id      TEXT COLLATE "C" NOT NULL REFERENCES runs(run_id),
    party       TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    records     BIGINT NOT NULL,
    digest      BYTEA NOT NULL,
    PRIMARY KEY (run_id, party, sequence)
);
-- One job for each run that is under way; a worker owns it until its lease ends.
CREATE TABLE jobs (
    run_id      TEXT COLLATE "C" PRIMARY KEY REFERENCES runs(run_id),
    owner       TEXT COLLATE "C" NOT NULL DEFAULT '',
    lease_until BIGINT NOT NULL DEFAULT 0,
    attempts    BIGINT NOT NULL DEFAULT 0,
    not_before  BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE contributions (
    sender      TEXT COLLATE "C" NOT NULL,
    recipient   TEXT COLLATE "C" NOT NULL,
    agreement   BYTEA NOT NULL,
    envelope    BYTEA NOT NULL,
    PRIMARY KEY (agreement, sender, recipient)
);
-- What was deleted, when, by which rule; signed by the broker.
CREATE TABLE deletions (
    run_id      TEXT COLLATE "C" NOT NULL,
    statement   TEXT COLLATE "C" NOT NULL,
    signature   BYTEA NOT NULL,
    deleted_at  BIGINT NOT NULL,
    PRIMARY KEY (run_id)
);
