-- An account may have no identity key yet. The column is made anew beside the old one: making the table anew
-- would take the devices of every account along.
ALTER TABLE auth_accounts RENAME COLUMN identity_key TO former_identity_key;
ALTER TABLE auth_accounts ADD COLUMN identity_key BLOB;     -- null until the account publishes one
UPDATE auth_accounts SET identity_key = former_identity_key;
ALTER TABLE auth_accounts DROP COLUMN former_identity_key;
