-- Envelopes that were stored many at once lie in files beside the database: the row says in which, and where. Such a row
-- has an empty envelope; in all others these are null.
ALTER TABLE messages_queue ADD COLUMN segment INTEGER;
ALTER TABLE messages_queue ADD COLUMN at INTEGER;
ALTER TABLE messages_queue ADD COLUMN length INTEGER;

-- The positions between which the envelopes of a segment stand, so that those which are left can be found.
CREATE TABLE messages_segments (
    id    INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL
) STRICT;
