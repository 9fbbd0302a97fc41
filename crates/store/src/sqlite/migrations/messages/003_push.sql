-- When devices were last woken for what waits for them.
CREATE TABLE push_woken (
    aci    BLOB    NOT NULL CHECK (length(aci) = 16),
    device INTEGER NOT NULL CHECK (device BETWEEN 1 AND 127),
    woken  INTEGER NOT NULL, -- ms
    PRIMARY KEY (aci, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX push_woken_by_time ON push_woken (woken);
