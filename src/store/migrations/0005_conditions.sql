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
