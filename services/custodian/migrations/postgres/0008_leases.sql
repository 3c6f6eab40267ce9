-- Which replica does what only one may do at a time, and until when (seconds since 1970).
CREATE TABLE leases (
    name        TEXT COLLATE "C" PRIMARY KEY,
    owner       TEXT COLLATE "C" NOT NULL,
    until       BIGINT NOT NULL
);
