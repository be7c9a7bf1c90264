-- What the GPUs of the server's machine did while a sample ran; NULL where that is unknown, as
-- it is of samples of older releases. Temperature and memory are the highest that were seen,
-- clocks and utilization (0 to 1) means, power is energy / time.
ALTER TABLE sample ADD COLUMN gpu_temperature_celsius REAL;
ALTER TABLE sample ADD COLUMN sm_clock_megahertz REAL;
ALTER TABLE sample ADD COLUMN memory_clock_megahertz REAL;
ALTER TABLE sample ADD COLUMN gpu_utilization REAL;
ALTER TABLE sample ADD COLUMN power_watts REAL;
ALTER TABLE sample ADD COLUMN gpu_memory_used_bytes INTEGER;
-- Comma-separated; NULL where there was none, or nobody can tell.
ALTER TABLE sample ADD COLUMN throttle_reasons TEXT;
ALTER TABLE sample ADD COLUMN energy_joules REAL;
-- Energy / output tokens of successful answers.
ALTER TABLE sample ADD COLUMN joules_per_output_token REAL
    GENERATED ALWAYS AS (energy_joules / NULLIF(output_tokens, 0)) VIRTUAL;

-- The cells that are named best, a JSON object: by objective, and of each row. They are held on
-- to, through a restart too, until others are surely better. NULL: none was named.
ALTER TABLE epoch ADD COLUMN named TEXT;

-- Changes of a target's measures that were found. Ratios are after / before.
CREATE TABLE change (
    id             INTEGER PRIMARY KEY,
    target_id      INTEGER NOT NULL REFERENCES target (id),
    measure        TEXT NOT NULL,
    direction      TEXT NOT NULL,
    ratio          REAL NOT NULL,
    lower          REAL NOT NULL,
    upper          REAL NOT NULL,
    cause          TEXT NOT NULL,
    -- What changed of the environment then, comma-separated, the first suspect first; NULL where nothing did.
    component      TEXT,
    scope          TEXT NOT NULL,
    detected_cycle INTEGER NOT NULL,
    detected_at    TEXT NOT NULL,
    changed_cycle  INTEGER NOT NULL,
    changed_at     TEXT NOT NULL,
    cycles_before  INTEGER NOT NULL,
    cycles_after   INTEGER NOT NULL,
    -- The cells that moved by themselves: a JSON array of [workers, batch].
    affected_cells TEXT NOT NULL,
    -- The least effect that was told then, as a ratio.
    minimum_effect REAL NOT NULL,
    -- When the old level was back, where it was a dip.
    returned_cycle INTEGER,
    returned_at    TEXT
) STRICT;
CREATE INDEX change_of_target ON change (target_id, id);

-- What the user said of a target's baseline, by `kind`: pinned, unpinned, accepted. And, by
-- `chosen`, what its running epoch is held against: one row, NULL where there is nothing.
CREATE TABLE baseline (
    id        INTEGER PRIMARY KEY,
    target_id INTEGER NOT NULL REFERENCES target (id),
    at        TEXT NOT NULL,
    kind      TEXT NOT NULL,
    epoch_id  INTEGER REFERENCES epoch (id)
) STRICT;
CREATE INDEX baseline_of_target ON baseline (target_id, id);
