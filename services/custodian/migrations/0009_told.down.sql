DELETE FROM supersessions WHERE told = 0;
ALTER TABLE set_aside_refs DROP COLUMN last_month;
ALTER TABLE set_aside_refs DROP COLUMN shown;
ALTER TABLE supersessions DROP COLUMN told;
ALTER TABLE refs DROP COLUMN shown;
