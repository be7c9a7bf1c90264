-- The requests that the server said it works on at once; NULL where it does not tell, and in
-- samples of older releases.
ALTER TABLE sample ADD COLUMN reported_slots INTEGER;
