-- Logins by name and password, the devices and sessions of those who have one, and profiles.
-- "sealed" columns open only with the keyring and only in their own row.

CREATE TABLE auth_logins (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES auth_accounts (id) ON DELETE CASCADE,
    username_index BLOB NOT NULL UNIQUE,    -- keyed hash of the name
    username BLOB NOT NULL,                 -- sealed
    password BLOB NOT NULL,                 -- sealed; a PHC string
    version INTEGER NOT NULL                -- differs after every change of the password
) STRICT;

CREATE TABLE auth_native_devices (
    account INTEGER NOT NULL,
    device INTEGER NOT NULL,
    identifier_index BLOB NOT NULL,         -- keyed hash of that by which the app knows itself again
    label BLOB,                             -- sealed
    keyless INTEGER NOT NULL,               -- it has published no keys yet
    PRIMARY KEY (account, device),
    UNIQUE (account, identifier_index),
    FOREIGN KEY (account, device) REFERENCES auth_devices (account, device) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- A device has one at most.
CREATE TABLE auth_native_sessions (
    id INTEGER NOT NULL PRIMARY KEY,
    session BLOB NOT NULL UNIQUE,
    family BLOB NOT NULL UNIQUE,            -- SHA-256 of what all its refresh tokens have in common
    token BLOB NOT NULL,                    -- SHA-256 of the present refresh token
    account INTEGER NOT NULL,
    device INTEGER NOT NULL,
    created INTEGER NOT NULL,               -- ms
    last_used INTEGER NOT NULL,             -- ms
    expires INTEGER NOT NULL,               -- ms; later after each refresh
    ends INTEGER NOT NULL,                  -- ms; no refresh goes beyond
    UNIQUE (account, device),
    FOREIGN KEY (account, device) REFERENCES auth_native_devices (account, device) ON DELETE CASCADE
) STRICT;

CREATE INDEX auth_native_sessions_by_expiry ON auth_native_sessions (expires);

CREATE TABLE profiles_profiles (
    aci BLOB NOT NULL PRIMARY KEY,
    username BLOB NOT NULL                  -- sealed
) STRICT, WITHOUT ROWID;
