-- Requests of persons: uploads that a party had forgotten to runs that still collect, with the broker's receipt.
CREATE TABLE withdrawals (
    party       TEXT NOT NULL,
    request     BLOB NOT NULL,          -- 16 random bytes
    statement   BLOB NOT NULL,
    signature   BLOB NOT NULL,
    restarted   TEXT NOT NULL,          -- JSON array: the runs
    files_left  INTEGER NOT NULL,       -- 1 until the batches' files are deleted
    PRIMARY KEY (party, request)
);
