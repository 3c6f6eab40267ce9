-- What the broker keeps between requests. Encodings themselves are files in the blob store; here is who sent what.
CREATE TABLE runs (
    run_id      TEXT PRIMARY KEY,
    agreement   BLOB NOT NULL,
    period      TEXT NOT NULL,
    parties     TEXT NOT NULL,          -- JSON array
    order_signature BLOB NOT NULL,      -- the coordinator's
    state       TEXT NOT NULL,          -- collecting, linking, delivering, closed, cancelled, failed
    step        TEXT NOT NULL,
    reason      TEXT NOT NULL DEFAULT '',
    opened_at   INTEGER NOT NULL        -- seconds since 1970
);
CREATE TABLE uploads (
    run_id      TEXT NOT NULL REFERENCES runs(run_id),
    party       TEXT NOT NULL,
    batches     INTEGER NOT NULL,
    records     INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    level_frequencies BLOB NOT NULL,
    PRIMARY KEY (run_id, party)
);
CREATE TABLE batches (
    run_id      TEXT NOT NULL REFERENCES runs(run_id),
    party       TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    records     INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    PRIMARY KEY (run_id, party, sequence)
);
-- One job for each run that is under way; a worker owns it until its lease ends.
CREATE TABLE jobs (
    run_id      TEXT PRIMARY KEY REFERENCES runs(run_id),
    owner       TEXT NOT NULL DEFAULT '',
    lease_until INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    not_before  INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE contributions (
    sender      TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    agreement   BLOB NOT NULL,
    envelope    BLOB NOT NULL,
    PRIMARY KEY (agreement, sender, recipient)
);
-- What was deleted, when, by which rule; signed by the broker.
CREATE TABLE deletions (
    run_id      TEXT NOT NULL,
    statement   TEXT NOT NULL,
    signature   BLOB NOT NULL,
    deleted_at  INTEGER NOT NULL,
    PRIMARY KEY (run_id)
);
