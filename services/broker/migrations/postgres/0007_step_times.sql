-- When the steps of runs began and ended, seconds since 1970: what a forecast rests on. It goes with its run.
CREATE TABLE step_times (
    run_id      TEXT COLLATE "C" NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
    step        TEXT COLLATE "C" NOT NULL,
    began       BIGINT NOT NULL,
    ended       BIGINT,
    PRIMARY KEY (run_id, step)
);
