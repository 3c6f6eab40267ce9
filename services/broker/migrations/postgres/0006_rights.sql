-- Requests of persons: uploads that a party had forgotten to runs that still collect, with the broker's receipt.
CREATE TABLE withdrawals (
    party       TEXT COLLATE "C" NOT NULL,
    request     BYTEA NOT NULL,          -- 16 random bytes
    statement   BYTEA NOT NULL,
    signature   BYTEA NOT NULL,
    restarted   TEXT COLLATE "C" NOT NULL,          -- JSON array: the runs
    files_left  BIGINT NOT NULL,       -- 1 until the batches' files are deleted
    PRIMARY KEY (party, request)
);
