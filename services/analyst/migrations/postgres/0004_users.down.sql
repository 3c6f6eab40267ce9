DROP TABLE users;
ALTER TABLE publications DROP COLUMN source;
