-- Codes by which devices are linked, and clearing the queue of one device alone.

CREATE TABLE auth_link_codes (
    id BLOB NOT NULL PRIMARY KEY,           -- SHA-256 of the code
    account INTEGER NOT NULL REFERENCES auth_accounts (id) ON DELETE CASCADE,
    expires INTEGER NOT NULL,               -- ms
    device INTEGER                          -- the device it has linked; null while it can be used
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_link_codes_by_account ON auth_link_codes (account);
CREATE INDEX auth_link_codes_by_expiry ON auth_link_codes (expires);

ALTER TABLE auth_queue_clears RENAME TO auth_queue_clears_of_accounts;

CREATE TABLE auth_queue_clears (
    aci BLOB NOT NULL,
    device INTEGER NOT NULL,                -- 0 for all of the account's devices
    cutoff INTEGER NOT NULL,                -- what was accepted before this goes (ms)
    PRIMARY KEY (aci, device)
) STRICT, WITHOUT ROWID;

INSERT INTO auth_queue_clears (aci, device, cutoff) SELECT aci, 0, cutoff FROM auth_queue_clears_of_accounts;
DROP TABLE auth_queue_clears_of_accounts;
