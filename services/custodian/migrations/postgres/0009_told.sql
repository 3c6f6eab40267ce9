-- Whether a table that was handed over holds, or held, a row of the reference; and whether a line of a supersession list is told
-- to analysts: only one by which such a row comes to another person. Of what was registered before, nothing is known.
ALTER TABLE refs ADD COLUMN shown BIGINT NOT NULL DEFAULT 1;
ALTER TABLE supersessions ADD COLUMN told BIGINT NOT NULL DEFAULT 1;
-- A reference that is set aside keeps what the registry knew of it.
ALTER TABLE set_aside_refs ADD COLUMN shown BIGINT NOT NULL DEFAULT 1;
ALTER TABLE set_aside_refs ADD COLUMN last_month TEXT COLLATE "C" NOT NULL DEFAULT '';
