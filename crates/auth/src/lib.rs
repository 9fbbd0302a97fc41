//! Accounts, registration, credentials.
