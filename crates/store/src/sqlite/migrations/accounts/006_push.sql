-- When a device gave its push token (ms); null where it was added with it.
ALTER TABLE auth_devices ADD COLUMN push_token_set INTEGER;
