-- Requests of persons that were followed: what was held (counts), how many publications rest on it, the receipt given.
CREATE TABLE withdrawals (
    request     TEXT PRIMARY KEY,       -- hexadecimal
    entered_at  INTEGER NOT NULL,       -- seconds since 1970
    counts      TEXT NOT NULL,          -- JSON object
    statement   BLOB,
    signature   BLOB
);
