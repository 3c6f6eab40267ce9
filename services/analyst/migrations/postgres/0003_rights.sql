-- Requests of persons that were followed: what was held (counts), how many publications rest on it, the receipt given.
CREATE TABLE withdrawals (
    request     TEXT COLLATE "C" PRIMARY KEY,       -- hexadecimal
    entered_at  BIGINT NOT NULL,       -- seconds since 1970
    counts      TEXT COLLATE "C" NOT NULL,          -- JSON object
    statement   BYTEA,
    signature   BYTEA
);
