//! The schema of each file: embedded, ordered, forward only.
//!
//! A file is ours if its `application_id` says so. A file that holds a migration we do not know was
//! written by a newer release and is refused; so is one whose applied migration differs from ours.

use refinery::{Migration, Runner};
use rusqlite::Connection;

use super::database::{OpenError, Schema};

const ACCOUNTS: &[(&str, &str)] = &[
    ("V1__auth", include_str!("migrations/accounts/001_auth.sql")),
    ("V2__keys", include_str!("migrations/accounts/002_keys.sql")),
];

const MESSAGES: &[(&str, &str)] = &[("V1__queue", include_str!("migrations/messages/001_queue.sql"))];

impl Schema {
    /// `application_id` of the file's header, "Hg" and which file it is.
    fn application_id(self) -> i32 {
        match self {
            Self::Accounts => 0x4867_0001,
            Self::Messages => 0x4867_0002,
        }
    }

    fn migrations(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Accounts => ACCOUNTS,
            Self::Messages => MESSAGES,
        }
    }
}

/// Checks that the file is one of ours and brings its schema up to date.
pub(super) fn migrate(connection: &mut Connection, schema: Schema) -> Result<(), OpenError> {
    let found: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (found, tables) {
        (0, 0) => connection.pragma_update(None, "application_id", schema.application_id())?,
        (id, _) if id == schema.application_id() => {}
        _ => return Err(OpenError::Foreign),
    }
    let migrations = schema
        .migrations()
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| OpenError::Migration(error.to_string()))?;
    // Refinery refuses by itself a store with a migration that is missing here (a newer one) or differs.
    Runner::new(&migrations)
        .set_abort_missing(true)
        .set_abort_divergent(true)
        .run(connection)
        .map(drop)
        .map_err(|error| match error.kind() {
            refinery::error::Kind::MissingVersion(_) => OpenError::Newer,
            _ => OpenError::Migration(error.to_string()),
        })
}
