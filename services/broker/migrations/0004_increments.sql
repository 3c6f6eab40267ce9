-- Runs that are kept for increments, and increments. A kept run is held from its close until held_until (seconds since 1970);
-- released says that what was held is to be deleted, or is.
ALTER TABLE runs ADD COLUMN base_run TEXT;
ALTER TABLE runs ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN held_until INTEGER;
ALTER TABLE runs ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
-- Of an increment, the base's handles that the party took out.
ALTER TABLE uploads ADD COLUMN removed BLOB NOT NULL DEFAULT x'';
