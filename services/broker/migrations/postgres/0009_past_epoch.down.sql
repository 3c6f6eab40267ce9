ALTER TABLE uploads DROP COLUMN past_epoch;
