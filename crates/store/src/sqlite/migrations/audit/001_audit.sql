-- The audit log: records that are chained by a keyed hash, and are only ever added.
CREATE TABLE audit_records (
    seq INTEGER PRIMARY KEY,        -- place in the chain, from 1
    at INTEGER NOT NULL,            -- milliseconds since the epoch; what is authenticated is in data
    data BLOB NOT NULL,             -- the canonical form, sealed
    mac BLOB NOT NULL               -- chains it to the one before
) STRICT;

-- Where the log begins, once records have expired: the last that did.
CREATE TABLE audit_cut (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    mac BLOB NOT NULL,
    at INTEGER NOT NULL,
    signature BLOB NOT NULL         -- shows that the server made the cut
) STRICT;

-- Against mistakes, not against attackers, who can drop triggers: those the chain shows.
CREATE TRIGGER audit_records_keep BEFORE UPDATE ON audit_records
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_records_stay BEFORE DELETE ON audit_records
WHEN OLD.seq > coalesce((SELECT seq FROM audit_cut), 0)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_records_follow BEFORE INSERT ON audit_records
WHEN NEW.seq <> coalesce((SELECT max(seq) FROM audit_records), (SELECT seq FROM audit_cut), 0) + 1
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_cut_advances BEFORE UPDATE ON audit_cut
WHEN NEW.seq <= OLD.seq
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_cut_stays BEFORE DELETE ON audit_cut
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
