-- The ends that many envelopes have in common (multi-recipient messages), kept once.
CREATE TABLE messages_shared (
    id   INTEGER PRIMARY KEY, -- a position that no envelope has
    refs INTEGER NOT NULL,    -- envelopes that end in it; the last one takes it along
    body BLOB    NOT NULL     -- sealed, bound to the id
) STRICT;

-- Null for an envelope that is whole by itself.
ALTER TABLE messages_queue ADD COLUMN shared INTEGER;

-- Bytes that the device gets, so that what an account holds can be summed up in the index alone.
ALTER TABLE messages_queue ADD COLUMN size INTEGER NOT NULL DEFAULT 0;

UPDATE messages_queue SET size = length(envelope);

DROP INDEX messages_queue_by_device;

CREATE INDEX messages_queue_by_device ON messages_queue (aci, device, position, size);
