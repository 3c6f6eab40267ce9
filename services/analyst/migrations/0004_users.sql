-- What a publication was computed from, so that a list needs no document (none in rows from before); who has come in to the page or
-- acts on this side, and whether they may.
ALTER TABLE publications ADD COLUMN source TEXT;   -- JSON: runs, withdrawals
CREATE TABLE users (
    kind       TEXT NOT NULL CHECK (kind IN ('login', 'certificate', 'console')),
    name       TEXT NOT NULL,            -- subject at the issuer, URI of the certificate, account
    label      TEXT NOT NULL,            -- what the issuer calls them, for those who manage; empty where nothing does
    first_seen INTEGER NOT NULL,         -- seconds since 1970; 0: never came in
    last_seen  INTEGER NOT NULL,
    logins     INTEGER NOT NULL,
    enabled    INTEGER NOT NULL,         -- 1 or 0
    changed_at INTEGER,                  -- of the last switch
    changed_by TEXT,
    reason     TEXT,
    PRIMARY KEY (kind, name)
);
