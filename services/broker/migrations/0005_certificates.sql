-- Deletion certificates, numbered from 1. What was deleted is noted in the transaction that deletes; `document` is empty until
-- it is signed.
CREATE TABLE certificates (
    number      BIGINT PRIMARY KEY,
    run_id      TEXT UNIQUE,
    draft       TEXT NOT NULL,
    document    TEXT NOT NULL DEFAULT ''
);
-- What took the place of certificates before.
DROP TABLE deletions;
