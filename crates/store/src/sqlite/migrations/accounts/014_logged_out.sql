-- Devices that a command has logged out while a server may be running, which is to close their connections.

CREATE TABLE auth_logged_out (
    account INTEGER NOT NULL,
    device INTEGER NOT NULL,
    PRIMARY KEY (account, device),
    FOREIGN KEY (account, device) REFERENCES auth_native_devices (account, device) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
