-- Time to first token less the server's own times, seconds; NULL where it tells none, and in
-- samples of older releases.
ALTER TABLE sample ADD COLUMN queue_wait_p50 REAL;
ALTER TABLE sample ADD COLUMN queue_wait_p95 REAL;
ALTER TABLE sample ADD COLUMN queue_wait_p99 REAL;
