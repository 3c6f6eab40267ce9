-- Records that a party left out as of a former epoch of the OPRF key; NULL where its node, of an earlier version, did not say.
ALTER TABLE uploads ADD COLUMN past_epoch INTEGER;
