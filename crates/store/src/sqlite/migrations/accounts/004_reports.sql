-- Messages that their recipients reported as spam, in the order of the reports.
CREATE TABLE messages_reports (
    id           INTEGER PRIMARY KEY,
    report_index BLOB    NOT NULL UNIQUE,                     -- keyed hash of recipient and message
    source       BLOB    NOT NULL CHECK (length(source) = 16), -- the account that sent it
    reported_at  INTEGER NOT NULL                             -- ms
) STRICT;
