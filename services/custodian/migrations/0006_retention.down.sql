DROP TABLE certificates;
ALTER TABLE refs DROP COLUMN last_month;
ALTER TABLE runs DROP COLUMN since;
