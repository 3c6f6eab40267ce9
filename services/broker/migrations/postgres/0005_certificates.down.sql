-- Certificates themselves are files; what is deleted here is what had yet to be signed.
DROP TABLE certificates;
CREATE TABLE deletions (
    run_id      TEXT COLLATE "C" NOT NULL,
    statement   TEXT COLLATE "C" NOT NULL,
    signature   BYTEA NOT NULL,
    deleted_at  BIGINT NOT NULL,
    PRIMARY KEY (run_id)
);
