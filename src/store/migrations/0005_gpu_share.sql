-- The share of the model in the GPU's memory, 0 to 1; NULL where the server does not tell, and
-- in samples of older releases.
ALTER TABLE sample ADD COLUMN gpu_share REAL;
