-- The journal of publications: what was put forward and what became of it. Rows are added, never changed or deleted.
-- Texts are compared byte by byte, as SQLite does.
CREATE TABLE publications (
    id          TEXT COLLATE "C" PRIMARY KEY,
    analyst     TEXT COLLATE "C" NOT NULL,
    month       TEXT COLLATE "C" NOT NULL,          -- AAAA-MM, UTC: the month whose budget it counts against
    title       TEXT COLLATE "C" NOT NULL,
    tables      BIGINT NOT NULL,        -- tables in it, which count one by one
    producers   TEXT COLLATE "C" NOT NULL,          -- JSON array: parties whose approval it needs
    document    BYTEA NOT NULL,         -- what is approved, to the byte
    fingerprint BYTEA NOT NULL,         -- SHA-256 of "linkage publication v1\n" and the document
    kept        BYTEA                   -- what is kept to protect later tables beside these; raw, never shown
);
CREATE INDEX publications_month ON publications (analyst, month);
CREATE TABLE entries (
    number      BIGINT PRIMARY KEY,     -- 1, 2, 3 …
    publication TEXT COLLATE "C" NOT NULL REFERENCES publications(id),
    kind        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('proposed', 'approved', 'rejected', 'published')),
    who         TEXT COLLATE "C" NOT NULL,
    party       TEXT COLLATE "C",       -- of a decision
    at          BIGINT NOT NULL,        -- seconds since 1970
    reason      TEXT COLLATE "C" NOT NULL,          -- justification of a proposal, reason of a rejection
    signature   BYTEA,                  -- the party's, of a decision
    seal        BYTEA NOT NULL          -- SHA-256 over the seal before it and this entry
);
CREATE UNIQUE INDEX entries_once ON entries (publication, kind) WHERE party IS NULL;
CREATE UNIQUE INDEX entries_one_decision ON entries (publication, party) WHERE party IS NOT NULL;
CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$;
CREATE TRIGGER publications_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON publications
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();
CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();
