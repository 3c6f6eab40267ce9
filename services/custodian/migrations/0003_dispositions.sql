-- Pairs of records that their owners have settled, one row for each owner's half. `dossier` is a keyed digest.
CREATE TABLE dispositions (
    party       TEXT NOT NULL,
    dossier     BLOB NOT NULL,
    partner     TEXT NOT NULL,
    ref         BLOB NOT NULL,
    second_ref  BLOB,                   -- of a pair within the party's own list: partner is the party itself
    verdict     INTEGER NOT NULL,       -- 1 confirmed, 2 refuted
    expiry      TEXT NOT NULL,          -- last day, AAAA-MM-JJ
    PRIMARY KEY (party, dossier)
);
CREATE INDEX dispositions_dossier ON dispositions (dossier);
CREATE INDEX dispositions_expiry ON dispositions (expiry);
