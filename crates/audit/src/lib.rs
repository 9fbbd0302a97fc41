//! The audit log: what happened to accounts and to the server, so that nobody can change it unseen.
//!
//! A record ([`record`]) has one canonical form in bytes. Each is chained to the one before it by an HMAC ([`chain`]), so
//! that a record that was altered, removed, added or moved shows, as does a log cut short behind the last checkpoint
//! ([`verify`]). What goes into it is written at once or counted together ([`Recorder`], [`coalesce`]); where it lies is the
//! business of an engine behind [`AuditStore`].
//!
//! # What the chain shows, and what it does not
//!
//! The key is derived from the server's keyring. Who has the log's file and not the key can delete the file, and can
//! neither alter a record, nor take one out, nor add one, nor shorten the log at either end, without
//! `heliograph audit verify` saying so. Who has the whole folder can put an older copy of everything in its place; who
//! has the keys too can write another history. Against these only a head helps that is kept elsewhere: the server writes
//! one to its own log every day, and `heliograph audit verify --head` holds the chain against it.

pub mod address;
pub mod chain;
pub mod checkpoint;
pub mod coalesce;
pub mod record;
mod recorder;
mod store;
pub mod verify;

pub use recorder::Recorder;
pub use store::AuditStore;
