-- The requests that the server said it works on at once; NULL where it does not tell, and in
-- samples of older releases.
ALTER TABLE sample ADD COLUMN reported_slots INTEGER;

-- The share of the model in the GPU's memory, 0 to 1; NULL where the server does not tell, and
-- in samples of older releases.
ALTER TABLE sample ADD COLUMN gpu_share REAL;

-- Requests that found the model not loaded, on purpose; in no sample. Seconds.
CREATE TABLE canary (
    id INTEGER PRIMARY KEY,
    target_id INTEGER NOT NULL REFERENCES target (id),
    at TEXT NOT NULL,
    load_seconds REAL,
    time_to_first_token_seconds REAL NOT NULL
);
CREATE INDEX canary_by_target ON canary (target_id, at);
