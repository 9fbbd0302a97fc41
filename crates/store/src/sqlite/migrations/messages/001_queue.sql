-- Message queues of all devices, in one append-only run of positions: a new envelope goes to the end of the
-- table whoever it is for, which is what lets one commit carry thousands.
CREATE TABLE messages_queue (
    position INTEGER PRIMARY KEY,
    aci      BLOB    NOT NULL CHECK (length(aci) = 16),
    device   INTEGER NOT NULL CHECK (device BETWEEN 1 AND 127),
    envelope BLOB    NOT NULL -- sealed, bound to the three columns before it
) STRICT;

-- Ends in the row id, hence in the order a reader wants.
CREATE INDEX messages_queue_by_device ON messages_queue (aci, device);
