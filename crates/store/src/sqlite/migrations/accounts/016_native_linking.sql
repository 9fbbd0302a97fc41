-- Codes by which native devices let others in: one for each session, which takes it along.

CREATE TABLE auth_native_link_codes (
    session INTEGER NOT NULL PRIMARY KEY REFERENCES auth_native_sessions (id) ON DELETE CASCADE,
    code BLOB NOT NULL UNIQUE,              -- SHA-256 of the code
    login_version INTEGER NOT NULL,         -- after a change of the password the code is void
    expires INTEGER NOT NULL,               -- ms
    account INTEGER NOT NULL,
    device INTEGER,                         -- the device it has let in; null while it can be used
    FOREIGN KEY (account, device) REFERENCES auth_native_devices (account, device) ON DELETE CASCADE
) STRICT;

CREATE INDEX auth_native_link_codes_by_device ON auth_native_link_codes (account, device);
