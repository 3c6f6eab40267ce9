-- What a publication was computed from, so that a list needs no document (none in rows from before); who has come in to the page or
-- acts on this side, and whether they may.
ALTER TABLE publications ADD COLUMN source TEXT COLLATE "C";   -- JSON: runs, withdrawals
CREATE TABLE users (
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('login', 'certificate', 'console')),
    name       TEXT COLLATE "C" NOT NULL,            -- subject at the issuer, URI of the certificate, account
    label      TEXT COLLATE "C" NOT NULL,            -- what the issuer calls them, for those who manage; empty where nothing does
    first_seen BIGINT NOT NULL,         -- seconds since 1970; 0: never came in
    last_seen  BIGINT NOT NULL,
    logins     BIGINT NOT NULL,
    enabled    BIGINT NOT NULL,         -- 1 or 0
    changed_at BIGINT,                  -- of the last switch
    changed_by TEXT COLLATE "C",
    reason     TEXT COLLATE "C",
    PRIMARY KEY (kind, name)
);
