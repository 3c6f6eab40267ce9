-- A run whose clusters are here knows their digest, so that a repetition is told from other clusters. `runs.state` may also
-- be `closed`: the broker has said that the run ended without clusters, and nothing of it is kept or taken any more.
ALTER TABLE runs ADD COLUMN clusters_digest BYTEA NOT NULL DEFAULT '';
