-- Receipts by which accounts without a number came to be; each is good once.
CREATE TABLE auth_receipts (
    serial_index BLOB NOT NULL PRIMARY KEY  -- keyed hash of the serial
) STRICT, WITHOUT ROWID;
