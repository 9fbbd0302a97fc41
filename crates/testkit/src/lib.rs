//! Starts the real server and speaks to it, for tests and the load generator.
