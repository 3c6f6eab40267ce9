-- The run's reference party: as each party's order named it, and as all agreed on it; null for none.
ALTER TABLE record_uploads ADD COLUMN reference_party TEXT COLLATE "C";
ALTER TABLE runs ADD COLUMN reference_party TEXT COLLATE "C";
