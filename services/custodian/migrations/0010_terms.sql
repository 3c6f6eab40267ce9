-- What the records of a run are sealed under (JSON: hash of the agreement, its analysts and attributes in order); empty for runs
-- of before.
ALTER TABLE runs ADD COLUMN terms TEXT NOT NULL DEFAULT '';
