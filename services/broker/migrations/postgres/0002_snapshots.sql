-- What is kept of a run's report to compare the next run of the agreement with: counts and estimates (JSON).
CREATE TABLE snapshots (
    run_id      TEXT COLLATE "C" PRIMARY KEY REFERENCES runs(run_id),
    agreement   BYTEA NOT NULL,
    period      TEXT COLLATE "C" NOT NULL,
    snapshot    TEXT COLLATE "C" NOT NULL,
    made_at     BIGINT NOT NULL         -- seconds since 1970
);
