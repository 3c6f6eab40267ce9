-- The party whose persons alone reach analysts, if the run's order names one.
ALTER TABLE runs ADD COLUMN reference_party TEXT COLLATE "C";
