-- Runs that are kept for increments, and increments. A kept run is held from its close until held_until (seconds since 1970);
-- released says that what was held is to be deleted, or is.
ALTER TABLE runs ADD COLUMN base_run TEXT COLLATE "C";
ALTER TABLE runs ADD COLUMN kept BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN held_until BIGINT;
ALTER TABLE runs ADD COLUMN released BIGINT NOT NULL DEFAULT 0;
-- Of an increment, the base's handles that the party took out.
ALTER TABLE uploads ADD COLUMN removed BYTEA NOT NULL DEFAULT '';
