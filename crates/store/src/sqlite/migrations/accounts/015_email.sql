-- E-mail addresses of native accounts, and codes that were mailed. Of a code there is its SHA-256.

CREATE TABLE auth_emails (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES auth_accounts (id) ON DELETE CASCADE,
    address_index BLOB NOT NULL UNIQUE,     -- keyed hash of the address
    address BLOB NOT NULL                   -- sealed
) STRICT;

-- The address that an account wishes for and has not confirmed yet. Several may wish for the same.
CREATE TABLE auth_email_wishes (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES auth_accounts (id) ON DELETE CASCADE,
    address BLOB NOT NULL,                  -- sealed
    code BLOB NOT NULL,
    expires INTEGER NOT NULL                -- ms
) STRICT;

CREATE INDEX auth_email_wishes_by_expiry ON auth_email_wishes (expires);

-- By which people without an account prove an address.
CREATE TABLE auth_email_proofs (
    code BLOB NOT NULL PRIMARY KEY,
    address_index BLOB NOT NULL,
    expires INTEGER NOT NULL                -- ms
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_email_proofs_by_address ON auth_email_proofs (address_index, expires);
CREATE INDEX auth_email_proofs_by_expiry ON auth_email_proofs (expires);

CREATE TABLE auth_password_resets (
    code BLOB NOT NULL PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES auth_logins (account) ON DELETE CASCADE,
    login_version INTEGER NOT NULL,         -- void once the password is another
    address_index BLOB NOT NULL,            -- void once the address is another
    expires INTEGER NOT NULL                -- ms
) STRICT, WITHOUT ROWID;

CREATE INDEX auth_password_resets_by_account ON auth_password_resets (account, expires);
CREATE INDEX auth_password_resets_by_expiry ON auth_password_resets (expires);
