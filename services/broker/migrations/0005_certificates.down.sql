-- Certificates themselves are files; what is deleted here is what had yet to be signed.
DROP TABLE certificates;
CREATE TABLE deletions (
    run_id      TEXT NOT NULL,
    statement   TEXT NOT NULL,
    signature   BLOB NOT NULL,
    deleted_at  INTEGER NOT NULL,
    PRIMARY KEY (run_id)
);
