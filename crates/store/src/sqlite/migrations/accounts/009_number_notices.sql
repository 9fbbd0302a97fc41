-- What devices of an account are still to be told of its new number: their queues live in another file.
CREATE TABLE auth_number_notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES auth_accounts (id) ON DELETE CASCADE,
    device INTEGER NOT NULL,
    pni BLOB NOT NULL,                      -- the new one
    recorded INTEGER NOT NULL,              -- ms
    data BLOB NOT NULL                      -- sealed
) STRICT;

CREATE INDEX auth_number_notices_by_account ON auth_number_notices (account);
