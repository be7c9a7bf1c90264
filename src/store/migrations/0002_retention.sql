-- What stays of a cell of an epoch when its samples are deleted. `attempts`, `first_at` and
-- `last_at` are of all samples, the rest of the valid ones. A mean of logarithms (natural)
-- stands with the sum of squared deviations from it, m2; it is NULL where there is no value.
CREATE TABLE cell_aggregate (
    epoch_id                          INTEGER NOT NULL REFERENCES epoch (id),
    workers                           INTEGER NOT NULL,
    batch                             INTEGER NOT NULL,
    attempts                          INTEGER NOT NULL,
    first_at                          TEXT NOT NULL,
    last_at                           TEXT NOT NULL,
    valid_samples                     INTEGER NOT NULL,
    log_tokens_per_second_count       INTEGER NOT NULL,
    log_tokens_per_second_mean        REAL,
    log_tokens_per_second_m2          REAL,
    tokens_per_second_min             REAL,
    tokens_per_second_max             REAL,
    requests                          INTEGER NOT NULL,
    failed_requests                   INTEGER NOT NULL,
    output_tokens                     INTEGER NOT NULL,
    total_seconds                     REAL NOT NULL,
    log_time_to_first_token_p50_count INTEGER NOT NULL,
    log_time_to_first_token_p50_mean  REAL,
    log_time_to_first_token_p50_m2    REAL,
    log_inter_token_latency_p50_count INTEGER NOT NULL,
    log_inter_token_latency_p50_mean  REAL,
    log_inter_token_latency_p50_m2    REAL,
    -- No reference: in an epoch that is not the target's newest it may have been deleted.
    newest_valid_sample               INTEGER,
    PRIMARY KEY (epoch_id, workers, batch)
) STRICT, WITHOUT ROWID;

-- What targets with a budget sent of late, a row a sample attempt. By name alone: another
-- model on the same account spends the same money.
CREATE TABLE spending (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    at       TEXT NOT NULL,
    requests INTEGER NOT NULL,
    tokens   INTEGER NOT NULL
) STRICT;
CREATE INDEX spending_by_time ON spending (at, name);

-- For retention: the old samples of an epoch, and its complete cycles.
CREATE INDEX sample_by_time ON sample (epoch_id, completed_at);
CREATE INDEX cycle_of_epoch ON cycle (epoch_id, completed_at);

-- For a start and a report: the newest samples of a cell.
CREATE INDEX sample_of_cell ON sample (epoch_id, workers, batch, id);
