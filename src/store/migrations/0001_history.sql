-- Times are UTC text, RFC 3339 with milliseconds; durations are seconds; rates a second.

CREATE TABLE target (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL,
    model TEXT NOT NULL,
    url   TEXT NOT NULL,
    UNIQUE (name, model)
) STRICT;

-- A stretch of time of one identity and one load, each a JSON object with sorted keys.
CREATE TABLE epoch (
    id         INTEGER PRIMARY KEY,
    target_id  INTEGER NOT NULL REFERENCES target (id),
    identity   TEXT NOT NULL,
    load       TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL
) STRICT;
CREATE INDEX epoch_of_target ON epoch (target_id, id);

CREATE TABLE cycle (
    target_id    INTEGER NOT NULL REFERENCES target (id),
    number       INTEGER NOT NULL,
    epoch_id     INTEGER NOT NULL REFERENCES epoch (id),
    -- The axes and whether equivalent cells are shared, a JSON object.
    grid         TEXT NOT NULL,
    seed         INTEGER NOT NULL,
    started_at   TEXT NOT NULL,
    -- NULL: not complete.
    completed_at TEXT,
    PRIMARY KEY (target_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample (
    id                           INTEGER PRIMARY KEY,
    target_id                    INTEGER NOT NULL REFERENCES target (id),
    epoch_id                     INTEGER NOT NULL REFERENCES epoch (id),
    cycle                        INTEGER NOT NULL,
    workers                      INTEGER NOT NULL,
    batch                        INTEGER NOT NULL,
    started_at                   TEXT NOT NULL,
    completed_at                 TEXT NOT NULL,
    total_seconds                REAL NOT NULL,
    seconds_per_request          REAL NOT NULL,
    tokens_per_second            REAL NOT NULL,
    steady_tokens_per_second     REAL,
    prompt_tokens_per_second     REAL,
    requests                     INTEGER NOT NULL,
    failed_requests              INTEGER NOT NULL,
    -- Reasons and counts, a JSON object; NULL where nothing failed.
    failures                     TEXT,
    output_tokens                INTEGER NOT NULL,
    prompt_tokens                INTEGER,
    cached_prompt_tokens         INTEGER,
    token_source                 TEXT NOT NULL,
    short_outputs                INTEGER NOT NULL,
    observed_parallelism         REAL,
    observed_parallelism_peak    INTEGER,
    time_to_first_token_p50      REAL,
    time_to_first_token_p95      REAL,
    time_to_first_token_p99      REAL,
    inter_token_latency_p50      REAL,
    inter_token_latency_p95      REAL,
    inter_token_latency_p99      REAL,
    time_per_output_token_p50    REAL,
    time_per_output_token_p95    REAL,
    time_per_output_token_p99    REAL,
    request_duration_p50         REAL,
    request_duration_p95         REAL,
    request_duration_p99         REAL,
    worker_wait_p50              REAL,
    worker_wait_p95              REAL,
    worker_wait_p99              REAL,
    load_seconds                 REAL,
    timer_lag_p99_seconds        REAL,
    client_cpu_ratio             REAL NOT NULL,
    valid                        INTEGER NOT NULL,
    -- Comma-separated; NULL for a valid sample.
    invalid_reason               TEXT
) STRICT;
CREATE INDEX sample_of_epoch ON sample (epoch_id, id);

-- The distributions of a valid sample: HdrHistogram V2, deflated; one count is a microsecond.
CREATE TABLE latency (
    sample_id INTEGER NOT NULL REFERENCES sample (id) ON DELETE CASCADE,
    measure   TEXT NOT NULL,
    histogram BLOB NOT NULL,
    PRIMARY KEY (sample_id, measure)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id        INTEGER PRIMARY KEY,
    target_id INTEGER NOT NULL REFERENCES target (id),
    at        TEXT NOT NULL,
    kind      TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;
CREATE INDEX event_of_target ON event (target_id, id);
