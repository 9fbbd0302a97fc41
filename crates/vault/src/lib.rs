//! Sealing at rest: master key, keyring, blind indexes.
