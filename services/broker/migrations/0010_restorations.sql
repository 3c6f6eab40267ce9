-- Restorations of this database from backups, by their moment: those that are complete, and one that is under way. Every process of
-- the role enters a complete one in its own audit log.
CREATE TABLE restorations (
    moment   TEXT NOT NULL PRIMARY KEY,
    complete INTEGER NOT NULL           -- 1 or 0
) WITHOUT ROWID;
