//! Pre-key distribution.
