DROP TABLE withdrawals;
DROP TABLE withdrawn_refs;
DROP TABLE withdrawal_receipts;
DROP TABLE set_aside_refs;
DROP TABLE set_aside_rows;
ALTER TABLE runs DROP COLUMN withdrawn;
