-- Second factors: keys for one-time passwords, and passkeys.

CREATE TABLE auth_factors (
    account INTEGER NOT NULL REFERENCES auth_accounts (id) ON DELETE CASCADE,
    factor INTEGER NOT NULL CHECK (factor BETWEEN 0 AND 127),
    kind INTEGER NOT NULL CHECK (kind IN (1, 2)), -- one-time passwords, passkey
    secret BLOB NOT NULL,                   -- sealed
    credential_index BLOB UNIQUE,           -- keyed hash of a passkey's id
    counter INTEGER NOT NULL,               -- the last step used, or what the passkey counts
    encrypted_label BLOB,                   -- encrypted by the client
    plain_label BLOB,                       -- sealed
    created INTEGER NOT NULL,               -- ms
    PRIMARY KEY (account, factor),
    CHECK ((encrypted_label IS NULL) <> (plain_label IS NULL))
) STRICT, WITHOUT ROWID;

-- What there is about the factors of an account that has had to do with any.
CREATE TABLE auth_factor_state (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES auth_accounts (id) ON DELETE CASCADE,
    failures INTEGER NOT NULL DEFAULT 0,    -- attempts since the last right answer
    blocked_until INTEGER NOT NULL DEFAULT 0, -- ms
    pending_key BLOB,                       -- sealed
    pending_expires INTEGER                 -- ms
) STRICT;

CREATE TABLE auth_recovery_codes (
    account INTEGER NOT NULL REFERENCES auth_accounts (id) ON DELETE CASCADE,
    code_index BLOB NOT NULL,               -- keyed hash of account and code
    PRIMARY KEY (account, code_index)
) STRICT, WITHOUT ROWID;
