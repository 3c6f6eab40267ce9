-- What is kept of a run's report to compare the next run of the agreement with: counts and estimates (JSON).
CREATE TABLE snapshots (
    run_id      TEXT PRIMARY KEY REFERENCES runs(run_id),
    agreement   BLOB NOT NULL,
    period      TEXT NOT NULL,
    snapshot    TEXT NOT NULL,
    made_at     INTEGER NOT NULL        -- seconds since 1970
);
