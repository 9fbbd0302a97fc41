-- What devices leave for one another while one is being set up; forgotten when it expires.

-- Where a history lies, for a device of the account.
CREATE TABLE auth_transfer_archives (
    account INTEGER NOT NULL REFERENCES auth_accounts (id) ON DELETE CASCADE,
    device INTEGER NOT NULL,
    registration_id INTEGER NOT NULL,       -- which installation of that device
    expires INTEGER NOT NULL,               -- ms
    data BLOB NOT NULL,                     -- sealed
    PRIMARY KEY (account, device, registration_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_transfer_archives_by_expiry ON auth_transfer_archives (expires);

-- How an account is restored on a new phone, for whoever knows the token.
CREATE TABLE auth_restore_choices (
    token_index BLOB NOT NULL PRIMARY KEY,  -- keyed hash of the token
    expires INTEGER NOT NULL,               -- ms
    data BLOB NOT NULL                      -- sealed
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_restore_choices_by_expiry ON auth_restore_choices (expires);
