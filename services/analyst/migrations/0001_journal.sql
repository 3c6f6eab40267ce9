-- The journal of publications: what was put forward and what became of it. Rows are added, never changed or deleted.
CREATE TABLE publications (
    id          TEXT PRIMARY KEY,
    analyst     TEXT NOT NULL,
    month       TEXT NOT NULL,          -- AAAA-MM, UTC: the month whose budget it counts against
    title       TEXT NOT NULL,
    tables      INTEGER NOT NULL,       -- tables in it, which count one by one
    producers   TEXT NOT NULL,          -- JSON array: parties whose approval it needs
    document    BLOB NOT NULL,          -- what is approved, to the byte
    fingerprint BLOB NOT NULL,          -- SHA-256 of "linkage publication v1\n" and the document
    kept        BLOB                    -- what is kept to protect later tables beside these; raw, never shown
);
CREATE INDEX publications_month ON publications (analyst, month);
CREATE TABLE entries (
    number      INTEGER PRIMARY KEY,    -- 1, 2, 3 …
    publication TEXT NOT NULL REFERENCES publications(id),
    kind        TEXT NOT NULL CHECK (kind IN ('proposed', 'approved', 'rejected', 'published')),
    who         TEXT NOT NULL,
    party       TEXT,                   -- of a decision
    at          INTEGER NOT NULL,       -- seconds since 1970
    reason      TEXT NOT NULL,          -- justification of a proposal, reason of a rejection
    signature   BLOB,                   -- the party's, of a decision
    seal        BLOB NOT NULL           -- SHA-256 over the seal before it and this entry
);
CREATE UNIQUE INDEX entries_once ON entries (publication, kind) WHERE party IS NULL;
CREATE UNIQUE INDEX entries_one_decision ON entries (publication, party) WHERE party IS NOT NULL;
CREATE TRIGGER publications_stay BEFORE UPDATE ON publications BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER publications_last BEFORE DELETE ON publications BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entries_last BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
