-- Which replica does what only one may do at a time, and until when (seconds since 1970).
CREATE TABLE leases (
    name        TEXT PRIMARY KEY,
    owner       TEXT NOT NULL,
    until       INTEGER NOT NULL
);
