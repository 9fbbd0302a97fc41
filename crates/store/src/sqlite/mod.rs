//! The embedded engine: SQLite, one file for accounts and keys, another for message queues, a third for the audit log.
//!
//! Each file has one writer thread that commits in groups and several readers ([`Database`]).

mod accounts;
mod admission;
mod audit;
mod database;
mod handover;
mod keys;
mod migrations;
mod profiles;
mod queue;
mod readers;
mod reports;
mod sessions;
mod wake_log;
mod writer;

pub use accounts::SqliteAccounts;
pub use admission::SqliteAdmission;
pub use audit::{AuditReader, SqliteAudit, audit_chain_key};
pub use database::{Database, OpenError, ReadError, Schema};
pub use handover::SqliteHandovers;
pub use keys::SqliteKeys;
pub use profiles::SqliteProfiles;
pub use queue::SqliteQueue;
pub use reports::{SqliteReports, read_report_sources};
pub use sessions::{SqliteSessions, read_waiting_codes};
pub use wake_log::SqliteWakeLog;

use protocol::ambient::StorageError;

/// Turns what SQLite says into what a service can act on.
pub(crate) fn sql(error: rusqlite::Error) -> StorageError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StorageError::Full,
        _ => StorageError::unavailable(error),
    }
}
