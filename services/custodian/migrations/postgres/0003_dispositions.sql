-- Pairs of records that their owners have settled, one row for each owner's half. `dossier` is a keyed digest.
CREATE TABLE dispositions (
    party       TEXT COLLATE "C" NOT NULL,
    dossier     BYTEA NOT NULL,
    partner     TEXT COLLATE "C" NOT NULL,
    ref         BYTEA NOT NULL,
    second_ref  BYTEA,                  -- of a pair within the party's own list: partner is the party itself
    verdict     BIGINT NOT NULL,        -- 1 confirmed, 2 refuted
    expiry      TEXT COLLATE "C" NOT NULL,          -- last day, AAAA-MM-JJ
    PRIMARY KEY (party, dossier)
);
CREATE INDEX dispositions_dossier ON dispositions (dossier);
CREATE INDEX dispositions_expiry ON dispositions (expiry);
