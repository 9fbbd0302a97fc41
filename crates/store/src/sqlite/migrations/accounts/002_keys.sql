-- Pre-keys of all devices. They are public keys, hence not sealed; the clients sign those that matter.
CREATE TABLE keys_pre_keys (
    id         INTEGER PRIMARY KEY,
    identity   BLOB    NOT NULL CHECK (length(identity) = 16), -- UUID of the account or phone-number identity
    device     INTEGER NOT NULL CHECK (device BETWEEN 1 AND 127),
    kind       INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 4),  -- signed, last resort, one-time, Kyber one-time
    key_id     INTEGER NOT NULL,
    public_key BLOB    NOT NULL,
    signature  BLOB                                            -- null for kind 3
) STRICT;

-- The order in which one-time keys are handed out.
CREATE UNIQUE INDEX keys_pre_keys_by_slot ON keys_pre_keys (identity, device, kind, key_id);
