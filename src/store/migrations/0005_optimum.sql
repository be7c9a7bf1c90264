-- The cells that are named best, a JSON object: by objective, and of each row. They are held on
-- to, through a restart too, until others are surely better. NULL: none was named.
ALTER TABLE epoch ADD COLUMN named TEXT;
