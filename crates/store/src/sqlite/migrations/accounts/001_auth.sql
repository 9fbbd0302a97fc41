-- Accounts, their devices, phone numbers and verification sessions.
-- "sealed" columns open only with the keyring and only in their own row.

-- A number keeps its PNI for good, also when nobody holds it.
CREATE TABLE auth_numbers (
    number_index BLOB NOT NULL PRIMARY KEY, -- keyed hash of the number
    pni BLOB NOT NULL UNIQUE,
    aci BLOB,                               -- the account that holds it, or held it last
    deleted_at INTEGER,                     -- when that account was deleted (ms); null while it holds the number
    recovery_password BLOB                  -- salt and hash
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_numbers_by_aci ON auth_numbers (aci);

CREATE TABLE auth_accounts (
    id INTEGER NOT NULL PRIMARY KEY,
    aci BLOB NOT NULL UNIQUE,
    version INTEGER NOT NULL,               -- differs after every registration and account-wide change
    identity_key BLOB NOT NULL,
    pni BLOB UNIQUE,
    pni_identity_key BLOB,
    number BLOB,                            -- sealed
    access_key BLOB,                        -- sealed
    unrestricted_access INTEGER NOT NULL,
    discoverable INTEGER NOT NULL,
    registration_lock BLOB,                 -- salt and hash
    recovery_password BLOB                  -- salt and hash
) STRICT;

CREATE TABLE auth_devices (
    account INTEGER NOT NULL REFERENCES auth_accounts (id) ON DELETE CASCADE,
    device INTEGER NOT NULL CHECK (device BETWEEN 1 AND 127),
    credential BLOB NOT NULL,               -- salt and hash
    locked INTEGER NOT NULL,
    registration_id INTEGER NOT NULL,
    pni_registration_id INTEGER,
    name BLOB,                              -- encrypted by the client
    fetches_messages INTEGER NOT NULL,
    push_token BLOB,                        -- sealed; its first byte says whose token it is
    capabilities INTEGER NOT NULL,          -- the bit of each capability's gRPC number
    agent TEXT,
    created INTEGER NOT NULL,               -- ms
    last_seen INTEGER NOT NULL,             -- ms, midnight UTC
    PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;

-- Message queues that are still to be cleared: they live in another file.
CREATE TABLE auth_queue_clears (
    aci BLOB NOT NULL PRIMARY KEY,
    cutoff INTEGER NOT NULL                 -- what was accepted before this goes (ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE auth_sessions (
    id_index BLOB NOT NULL PRIMARY KEY,     -- keyed hash of the id
    version INTEGER NOT NULL,
    expires INTEGER NOT NULL,               -- ms
    data BLOB NOT NULL                      -- sealed
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_sessions_by_expiry ON auth_sessions (expires);
