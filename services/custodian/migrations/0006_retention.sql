-- Deletion certificates, numbered from 1. What was deleted is noted in the transaction that deletes; `document` is empty until
-- it is signed.
CREATE TABLE certificates (
    number      BIGINT PRIMARY KEY,
    run_id      TEXT UNIQUE,
    draft       TEXT NOT NULL,
    document    TEXT NOT NULL DEFAULT ''
);
-- The last month that a record was delivered for (AAAA-MM), where it is known.
ALTER TABLE refs ADD COLUMN last_month TEXT NOT NULL DEFAULT '';
CREATE TABLE months_of_refs AS
    SELECT l.ref, l.party, max(runs.period) AS last_month
    FROM runs JOIN link_rows l ON l.id >= runs.first_row AND l.id < runs.first_row + runs.row_count
    WHERE runs.state = 'ready' GROUP BY l.ref, l.party;
CREATE INDEX months_of_refs_ref ON months_of_refs (ref, party);
UPDATE refs SET last_month = coalesce(
    (SELECT m.last_month FROM months_of_refs m WHERE m.ref = refs.ref AND m.party = refs.party), '');
DROP TABLE months_of_refs;
-- The day on which a run that takes records was first seen (AAAA-MM-JJ). `state` may also be `expired`: the link table has
-- reached its term.
ALTER TABLE runs ADD COLUMN since TEXT NOT NULL DEFAULT '';
