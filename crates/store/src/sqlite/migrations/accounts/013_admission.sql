-- Who may register: invitations, and those who wait for the operator's word.

CREATE TABLE auth_invites (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    made INTEGER NOT NULL UNIQUE,           -- their order
    code_index BLOB NOT NULL UNIQUE,        -- keyed hash of the code, and of the number it is bound to
    number_index BLOB,                      -- keyed hash of that number
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    wrong_codes INTEGER NOT NULL DEFAULT 0, -- handed in for the number
    created INTEGER NOT NULL,               -- ms
    expires INTEGER NOT NULL,               -- ms
    revoked INTEGER,                        -- ms
    voided INTEGER NOT NULL DEFAULT FALSE,  -- by wrong codes
    note BLOB                               -- sealed
) STRICT;

CREATE INDEX auth_invites_by_number ON auth_invites (number_index) WHERE number_index IS NOT NULL;

CREATE TABLE auth_invite_uses (
    invite BLOB NOT NULL REFERENCES auth_invites (id) ON DELETE CASCADE,
    aci BLOB NOT NULL,
    at INTEGER NOT NULL                     -- ms
) STRICT;

CREATE INDEX auth_invite_uses_by_invite ON auth_invite_uses (invite);

CREATE TABLE auth_applications (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    applicant_index BLOB NOT NULL UNIQUE,   -- keyed hash of the number or name
    kind INTEGER NOT NULL,                  -- 1 a number, 2 a name
    applicant BLOB NOT NULL,                -- sealed
    at INTEGER NOT NULL,                    -- when they asked or were told last, ms
    standing INTEGER NOT NULL               -- 0 pending, 1 approved, 2 refused
) STRICT;

CREATE INDEX auth_applications_by_standing ON auth_applications (standing, at);
