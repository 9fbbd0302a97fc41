-- Who has not been seen for long.
CREATE INDEX auth_devices_by_last_seen ON auth_devices (last_seen);

-- When it was looked for them last, and from when on somebody may go again.
CREATE TABLE auth_idle_rounds (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    at INTEGER NOT NULL,                    -- ms
    resume INTEGER NOT NULL                 -- ms
) STRICT;
