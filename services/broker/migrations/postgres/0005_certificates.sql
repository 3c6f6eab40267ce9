-- Deletion certificates, numbered from 1. What was deleted is noted in the transaction that deletes; `document` is empty until
-- it is signed.
CREATE TABLE certificates (
    number      BIGINT PRIMARY KEY,
    run_id      TEXT COLLATE "C" UNIQUE,
    draft       TEXT COLLATE "C" NOT NULL,
    document    TEXT COLLATE "C" NOT NULL DEFAULT ''
);
-- What took the place of certificates before.
DROP TABLE deletions;
